import type { Bytes } from "./bytes.ts";
import type { Chain } from "./chain.ts";
import type { Cold } from "./cold.ts";
import type { Growth } from "./growth.ts";
import type { Measured } from "./heap.ts";
import { median, type Spread, spread } from "./numbers.ts";
import type { Throughput } from "./throughput.ts";
import type { Depth, Trips } from "./trips.ts";

/** Everything that one run has measured. */
export interface Results {
  trips: Trips;
  cold: Cold;
  bytes: Bytes;
  chain: Chain;
  growth: Growth;
  throughput: Throughput;
  heap: Measured;
}

/** One line of a table. */
export interface Row {
  what: string;
  naive: string;
  ours: string;
  target?: string;
  /** Absent where there is no target. */
  isMet?: boolean;
  /** Ours as a share of naive, for the chart. */
  share?: number;
}

export interface Table {
  title: string;
  /** How it was measured. */
  how: string;
  rows: Row[];
}

const decimals = (value: number, count = 1) => value.toFixed(count).replace(/^-(?=[0.]+$)/, ""); // zero has no sign
const kilobytes = (bytes: number) => `${decimals(bytes / 1_000)} kB`;
const span = ({ median, low, high }: Spread, unit: string) =>
  `${decimals(median)} ${unit} (${decimals(low)} to ${decimals(high)})`;

/** The results as tables, each figure beside its target. */
export function tablesOf(results: Results): Table[] {
  return [
    trips(results.trips),
    starts(results.cold),
    bytes(results.bytes),
    cpu(results.chain),
    pages(results.growth),
    sends(results.growth),
    heap(results.heap),
    ...throughput(results.throughput),
  ];
}

const depths: Record<string, number> = {
  "list, hit": 1,
  "list, miss": 3,
  "transcript, ended, hit": 1,
  "transcript, ended, miss": 3,
  "transcript, ongoing": 4,
  message: 4,
  create: 5,
  end: 6,
};

function trips(measured: Trips): Table {
  const shown = ({ all, upstash, mongo, retell }: Depth) =>
    `${decimals(all)} (U ${decimals(upstash)}, M ${decimals(mongo)}, R ${decimals(retell)})`;
  return {
    title: "Sequential trips, warm",
    how: "by how many ms an answer is later per ms of delay in front of the services (U Upstash, M MongoDB, R Retell): in front of all of them, and of each alone",
    rows: Object.entries(measured).map(([what, { naive, ours }]) => ({
      what,
      naive: shown(naive),
      ours: shown(ours),
      ...atMost(ours.all, depths[what] ?? 0, 0.3), // trips are whole numbers: the rest is noise
      share: ours.all / naive.all,
    })),
  };
}

function starts(cold: Cold): Table {
  const rows: Row[] = [];
  for (const name of ["list", "message"] as const) {
    const [naive, ours] = [cold[`naive ${name}`], cold[`ours ${name}`]];
    const ready = {
      naive: ratioOf(naive.ready, cold["empty.mjs"].ready),
      ours: ratioOf(ours.ready, cold["empty.cjs"].ready),
    };
    const answered = ratioOf(ours.answered, naive.answered);
    rows.push(
      {
        // Its budget is in test/build.test.ts.
        what: `${name}: bundle`,
        naive: `${kilobytes(naive.bytes)} (gzip ${kilobytes(naive.gzip)})`,
        ours: `${kilobytes(ours.bytes)} (gzip ${kilobytes(ours.gzip)})`,
        share: ours.bytes / naive.bytes,
      },
      { what: `${name}: modules loaded before ready`, naive: String(naive.modules), ours: String(ours.modules) },
      { what: `${name}: handler ready`, naive: span(spread(naive.ready), "ms"), ours: span(spread(ours.ready), "ms") },
      {
        what: `${name}: ready, ratio to an empty handler`,
        naive: decimals(ready.naive, 2),
        ours: decimals(ready.ours, 2),
        ...atMost(ready.ours, 4.5),
        share: ready.ours / ready.naive,
      },
      {
        what: `${name}: process start to first answer`,
        naive: span(spread(naive.answered), "ms"),
        ours: span(spread(ours.answered), "ms"),
      },
      {
        what: `${name}: first answer, ratio to naive`,
        naive: "1",
        ours: decimals(answered, 2),
        ...(name === "list" ? atMost(answered, 0.6) : {}),
        share: answered,
      },
    );
  }
  return {
    title: "Start of a process",
    how: "new processes, each with one bundle, in turn; list is answered from the cache; median and quartiles",
    rows,
  };
}

/** Compared round by round, since other load on the machine affects both. */
const ratioOf = (ours: number[], others: number[]) => median(ours.map((ms, i) => ms / (others[i] ?? Number.NaN)));

const budgets: Record<string, number> = {
  "100 chats": 8_000,
  "1,000 messages of the shop's agent": 40_000,
  "1,000 messages of random words": 40_000,
};

function bytes(measured: Bytes): Table {
  const rows = Object.entries(measured).flatMap(([what, { naive, ours }]) => [
    {
      what: `${what}, on the wire`,
      naive: kilobytes(naive.hit),
      ours: kilobytes(ours.hit),
      ...atMost(Math.max(ours.hit, ours.miss), budgets[what] ?? 0),
      target: `≤ ${(budgets[what] ?? 0) / 1_000} kB`,
      share: ours.hit / naive.hit,
    },
    { what: `${what}, in Redis`, naive: kilobytes(naive.redis), ours: kilobytes(ours.redis) },
  ]);
  return {
    title: "Bytes",
    how: "a default list and whole transcripts: the body that the client gets with `Accept-Encoding: gzip`, and what is cached of it",
    rows,
  };
}

function cpu({ naive, ours, byHand }: Chain): Table {
  const ratio = median(ours) / median(byHand);
  return {
    title: "CPU of the chain, without I/O",
    how: "CPU per request of a cached list, in µs, while the services' recorded answers are replayed in the process; median and quartiles of the rounds",
    rows: [
      {
        what: "list, hit",
        naive: span(spread(naive), "µs"),
        ours: span(spread(ours), "µs"),
        share: median(ours) / median(naive),
      },
      { what: "the same work by hand", naive: "", ours: span(spread(byHand), "µs") },
      {
        what: "chain, ratio to the same work by hand",
        naive: decimals(median(naive) / median(byHand)),
        ours: decimals(ratio),
        ...atMost(ratio, 4),
      },
    ],
  };
}

function pages({ pages: { naive, ours } }: Growth): Table {
  const rows = ours.flatMap((page, i): Row[] => {
    const other = naive[i] ?? page;
    const depth = page.last.median / page.first.median;
    return [
      { what: `${count(page.chats)} chats, first page`, naive: span(other.first, "ms"), ours: span(page.first, "ms") },
      { what: `${count(page.chats)} chats, last page`, naive: span(other.last, "ms"), ours: span(page.last, "ms") },
      {
        what: `${count(page.chats)} chats, last page to first`,
        naive: decimals(other.last.median / other.first.median, 2),
        ours: decimals(depth, 2),
        ...(page.chats === 100_000 ? atMost(depth, 1.2) : {}),
      },
      {
        what: `${count(page.chats)} chats, documents read for 99`,
        naive: String(other.examined),
        ours: String(page.examined),
        ...atMost(page.examined, 100),
        target: "≤ limit + 1",
      },
    ];
  });
  return {
    title: "A list that grows",
    how: "pages of 99 chats, never cached, from the handler's call to its answer",
    rows,
  };
}

function sends({ sends: { naive, ours }, largest }: Growth): Table {
  const rows: Row[] = ours.flatMap((send, i): Row[] => [
    {
      what: `send at ${count(send.messages)} messages`,
      naive: naive[i] ? span(naive[i].ms, "ms") : "",
      ours: span(send.ms, "ms"),
    },
    {
      what: `its bytes in the journal`,
      naive: count(Math.round(naive[i]?.journalBytes ?? 0)),
      ours: count(Math.round(send.journalBytes)),
    },
  ]);
  const ratio = (sent: typeof ours, of: (send: (typeof ours)[number]) => number) => {
    const [shortest = Number.NaN, ...longer] = sent.map(of);
    return (longer.at(-1) ?? Number.NaN) / shortest;
  };
  for (const [what, target, of] of [
    ["time, longest to shortest", 4, (send: (typeof ours)[number]) => send.ms.median],
    ["journal, longest to shortest", 1.1, (send: (typeof ours)[number]) => send.journalBytes],
  ] as const) {
    rows.push({
      what,
      naive: decimals(ratio(naive, of), 2),
      ours: decimals(ratio(ours, of), 2),
      ...atMost(ratio(ours, of), target),
    });
  }
  rows.push({
    what: `largest of ${largest.pages} pages of a transcript of 5,000 messages, as Lambda counts it`,
    naive: "",
    ours: `${decimals(largest.lambdaBytes / 1e6, 2)} MB`,
    ...atMost(largest.lambdaBytes / 1e6, 5.51),
    target: "≤ 5.5 MB",
  });
  return {
    title: "A chat that grows",
    how: "a send with a short answer; Retell is on loopback and answers at once",
    rows,
  };
}

function heap(measured: Measured): Table {
  const [early, late] = measured;
  const grown = ((late?.heapBytes ?? Number.NaN) - (early?.heapBytes ?? 0)) / 1e6;
  const what = `growth of the heap from ${count(early?.requests ?? 0)} to ${count(late?.requests ?? 0)} mixed requests, after gc`;
  return {
    title: "Memory of one instance",
    how: "one process, all endpoints and refusals in turn",
    rows: [{ what, naive: "", ours: `${decimals(grown, 2)} MB`, ...atMost(grown, 3), target: "≤ 3 MB" }],
  };
}

function throughput(measured: Throughput): Table[] {
  return Object.entries(measured).map(([what, { naive, ours }]) => ({
    title: `Throughput: ${what}`,
    how: "one local gateway; clients, Redis, MongoDB and Retell share the machine with it, so compare the CPU, which is the gateway's alone",
    rows: ours.flatMap((load, i): Row[] => {
      const other = naive[i] ?? load;
      const connections = `${load.connections} connection${load.connections > 1 ? "s" : ""}`;
      return [
        {
          what: `${connections}: requests per second`,
          naive: decimals(other.perSecond, 0),
          ours: decimals(load.perSecond, 0),
        },
        {
          what: `${connections}: CPU per request`,
          naive: `${decimals(other.cpu / 1_000, 2)} ms`,
          ours: `${decimals(load.cpu / 1_000, 2)} ms`,
          share: load.cpu / other.cpu,
        },
        { what: `${connections}: latency`, naive: span(other.latency, "ms"), ours: span(load.latency, "ms") },
      ];
    }),
  }));
}

function atMost(value: number, target: number, tolerance = 0): { target: string; isMet: boolean } {
  return { target: `≤ ${target}`, isMet: value <= target + tolerance };
}

const count = (value: number) => value.toLocaleString("en-US");

const verdict = ({ isMet }: Row) => (isMet === undefined ? "" : isMet ? "met" : "NOT MET");

/** For a terminal. */
export function asText(tables: Table[]): string {
  const cells = ({ what, naive, ours, target = "", ...row }: Row) => [what, naive, ours, target, verdict(row as Row)];
  const all = [["", "naive", "ours", "target", ""], ...tables.flatMap(({ rows }) => rows.map(cells))];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return tables
    .map(({ title, rows }) =>
      [line([title, "naive", "ours", "target", ""]), ...rows.map((row) => line(cells(row)))].join("\n"),
    )
    .join("\n\n");
}

/** For docs/. */
export function asMarkdown(tables: Table[], about: string): string {
  const rows = (table: Table) =>
    table.rows.map((row) => `| ${[row.what, row.naive, row.ours, row.target ?? "", verdict(row)].join(" | ")} |`);
  const section = (table: Table) =>
    [
      `## ${table.title}`,
      "",
      `${capital(table.how)}.`,
      "",
      "| | naive | ours | target | |",
      "|---|---|---|---|---|",
      ...rows(table),
    ].join("\n");
  const missed = tables.flatMap(({ rows }) =>
    rows.filter(({ isMet }) => isMet === false).map(({ what, ours, target }) => `${what}: ${ours}, target ${target}`),
  );
  const outcome =
    missed.length === 0 ? "All targets are met." : `Not met:\n\n${missed.map((one) => `- ${one}`).join("\n")}`;
  return `# Benchmark\n\n${about}\n\n![Ours as a share of naive](bench.svg)\n\n${outcome}\n\n${tables.map(section).join("\n\n")}\n`;
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
