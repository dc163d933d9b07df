/**
 * `npm run prove -- chaos`: checks that nothing is lost or doubled while everything around the API fails. The seed decides
 * which faults occur; their interleaving varies from run to run. Exits with 1 when a promise is broken.
 */
import { createWriteStream } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { settings } from "../../infra/settings.ts";
import { promises, reasons } from "./ledger.ts";
import { type Part, parts, type Report, run } from "./run.ts";

const options = {
  seed: { type: "string" },
  sends: { type: "string", default: "10000" },
  chats: { type: "string", default: "40" },
  clients: { type: "string", default: "20" },
  instances: { type: "string", default: "3" },
  without: { type: "string", default: "" },
  moves: { type: "string", default: "0" },
  log: { type: "string" },
  trace: { type: "string" },
  help: { type: "boolean" },
} as const;

const USAGE =
  "npm run prove -- chaos [--seed N] [--sends N] [--chats N] [--clients N] [--instances N] [--without PART,PART] [--moves N] [--log FILE] [--trace FILE]";

async function main(): Promise<void> {
  const { values } = parseArgs({ options });
  if (values.help) return console.log(`${USAGE}\n\ndocs/chaos.md explains the flags and the output.`);
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1e6) : whole(values.seed);
  // The run has its own services and settings, regardless of the shell's.
  for (const name of Object.keys(settings)) delete process.env[name];
  const log = values.log === undefined ? undefined : createWriteStream(values.log);
  if (!log) process.env.POWERTOOLS_LOG_LEVEL = "ERROR"; // nobody reads the rest
  console.log(`seed ${seed}`);
  const report = await run({
    seed,
    sends: whole(values.sends),
    chats: whole(values.chats),
    clients: whole(values.clients),
    instances: whole(values.instances),
    moves: whole(values.moves),
    without: values.without
      .split(",")
      .filter((name) => name !== "")
      .map(part),
    onProgress: (line) => console.log(line),
    ...(values.trace === undefined ? {} : { traceFile: resolve(values.trace) }),
    ...(log ? { onLine: (line: string) => void log.write(`${line}\n`) } : {}),
  });
  log?.end();
  print(seed, report);
  process.exitCode = report.ledger.isKept ? 0 : 1;
}

function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${text} is not a whole number. Usage: ${USAGE}`);
  return Number(text);
}

function part(name: string): Part {
  const found = parts.find((known) => known === name);
  if (!found) throw new Error(`${name} is not a part of a run. The parts are ${parts.join(", ")}. Usage: ${USAGE}`);
  return found;
}

function print(seed: number, { ledger, troubles, orphansEnded, seconds }: Report): void {
  const refused = [...ledger.answers].sort(([, a], [, b]) => b - a);
  const { accepted, refused: ended, unanswered, undecided } = ledger;
  const rows: [string, string | number][] = [
    ["seed", seed],
    ["seconds", seconds],
    ["sends tried", accepted.length + ended.length + unanswered.length + undecided.length],
    ["  requests for them", ledger.requests],
    ["accepted", accepted.length],
    ["  learned from a repeat", ledger.replays],
    ["  repeated, and held against the first answer", ledger.repeats],
    ["  of which a text was corrected", ledger.corrected],
    ["refused for good: CHAT_ENDED", ended.length],
    ["requests not accepted, by code", ""],
    ...refused.map(([code, count]): [string, number] => [`  ${code}`, count]),
    ["troubles", ""],
    ...Object.entries(troubles).map(([name, count]): [string, number] => [`  ${name}`, count]),
    ["chats created", ledger.created.size],
    ["orphans ended by the last sweep", orphansEnded],
    ["undecidable, by reason", ""],
    ...reasons.map((name): [string, number] => [`  ${name}`, ledger.undecidable.get(name)?.length ?? 0]),
    ...promises.map((name): [string, number] => [name, ledger.broken.get(name)?.length ?? 0]),
  ];
  for (const [name, value] of rows) console.log(`${name.padEnd(44)}${value}`);
  for (const [name, found] of ledger.undecidable) {
    for (const what of found.slice(0, 10)) console.log(`? ${name}: ${what}`);
  }
  for (const [name, found] of ledger.broken) {
    for (const what of found.slice(0, 20)) console.log(`! ${name}: ${what}`);
  }
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
