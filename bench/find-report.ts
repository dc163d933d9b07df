import type { Finding, Found } from "./find.ts";
import type { Send } from "./growth.ts";
import { median } from "./numbers.ts";

/** Several rounds of the same sends. */
export type SendsByWords = Record<"with" | "without", Send[][]>;

const decimals = (value: number, count = 1) => value.toFixed(count);
const count = (value: number) => Math.round(value).toLocaleString("en-US");
const megabytes = (bytes: number) => `${decimals(bytes / 1_000_000)} MB`;

/** The measurements as the tables of docs/bench-find.md. */
export function findingTables(finding: Finding, sends: SendsByWords): string {
  const { chats, messages, seedSeconds } = finding;
  return [
    `One subaccount with ${count(chats)} chats of ${messages} messages over a year, made by \`npm run local -- seed\` in ${decimals(seedSeconds, 0)} s, words included. The times are those of the whole handler, median and quartiles; the permission is known, and nothing is cached. Keys and documents are what MongoDB examined for one request, the reading of the tenant's words included.`,
    "## Filters of the list, a page of 50",
    table(finding.lists, "chats"),
    "## Search, a page of 20",
    table(finding.searches, "chats"),
    "## Analytics",
    table(finding.analytics, "buckets"),
    "## Export of all chats",
    exportTable(finding),
    "## What a send costs",
    "A send to a chat of this length, with the write of its words beside that of the reply, and without: the same code, in which that write does nothing.",
    sendTable(sends),
    "## Sizes",
    sizes(finding),
  ].join("\n\n");
}

function table(rows: Found[], what: string): string {
  const cells = rows.map(
    ({ what, ms, keys, documents, found, isPartial }) =>
      `| ${what} | ${decimals(ms.median)} (${decimals(ms.low)} to ${decimals(ms.high)}) | ${count(keys)} | ${count(documents)} | ${found}${isPartial ? ", partial" : ""} |`,
  );
  return [`| | ms | keys | documents | ${what} |`, "|---|---|---|---|---|", ...cells].join("\n");
}

function exportTable({ chats, exports }: Finding): string {
  const rows = exports.map(
    ({ format, seconds, bytes, grownBytes }) =>
      `| ${format} | ${decimals(seconds)} s | ${count(chats / seconds)} | ${megabytes(bytes)} | ${megabytes(grownBytes)} |`,
  );
  return ["| | time | chats a second | file | memory of the worker grew by |", "|---|---|---|---|---|", ...rows].join(
    "\n",
  );
}

function sendTable(sends: SendsByWords): string {
  const [first = []] = sends.with;
  const shown = (which: keyof SendsByWords, index: number) => {
    const rounds = sends[which].flatMap((round) => round[index] ?? []);
    const bytes = median(rounds.map(({ journalBytes }) => journalBytes));
    return `${decimals(median(rounds.map(({ ms }) => ms.median)))} ms, ${count(bytes)} bytes`;
  };
  const rows = first.map(
    ({ messages }, index) => `| ${count(messages)} messages | ${shown("without", index)} | ${shown("with", index)} |`,
  );
  return [
    "| | without words | with words |",
    "|---|---|---|",
    ...rows,
    "",
    "Bytes are those in the journal of the replica set, and exact. The two kinds of sends run in processes of their own, in turn: on a busy machine their times differ by chance by more than by the words.",
  ].join("\n");
}

function sizes({ chats, data, indexes }: Finding): string {
  const perChat = (bytes: number) => `${count(bytes / chats)} bytes`;
  const rows = [
    ...data.map(({ collection, bytes, storedBytes }) => ({
      what: `\`${collection}\`, documents (${megabytes(storedBytes)} on disk)`,
      bytes,
    })),
    ...indexes.map(({ collection, name, bytes }) => ({ what: `\`${collection}\`, index \`${name}\``, bytes })),
    { what: "all indexes, which should fit into memory", bytes: indexes.reduce((sum, { bytes }) => sum + bytes, 0) },
  ];
  const cells = rows.map(({ what, bytes }) => `| ${what} | ${megabytes(bytes)} | ${perChat(bytes)} |`);
  return ["| | all | a chat |", "|---|---|---|", ...cells].join("\n");
}
