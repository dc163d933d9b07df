import "./support/own-retell.ts";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { aCell, age, atRetell, type Cell, endpoints, here, nothingIsDoubledOrHidden } from "./support/cell.ts";
import type { Service, Treatment } from "./support/proxy.ts";
import { stopwatch } from "./support/stopwatch.ts";
import { anInstance, aWire, owned } from "./support/wire.ts";
import { central } from "./support/world.ts";

const wire = await aWire();
const healthy = await anInstance();

afterEach(async () => {
  vi.useRealTimers();
  await wire.heal();
});

interface Failure {
  /** What the service does, as the table says it. */
  how: string;
  strike: (to: Service) => unknown;
  /** Which services fail so, if not all. */
  of?: Service[];
  /** The instance has started just now and has met no service yet. */
  isCold?: true;
  /** The instance has met it often enough to give up, and then it is over. */
  isOver?: true;
  /** The clock stands still: an answer tells how long to wait. */
  tellsTime?: true;
  /** It strikes by what a request does: so one request after the other, and only of these. */
  only?: Cell["asked"][];
  /** What is left to the function, of its 29 s, where a wait that our deadlines end need not be waited for in full. */
  remainingMs?: number;
  /** The same for a run of the sweep. */
  sweepMs?: number;
  /** The longest time, where it is neither Mongo's 3 s nor that of our own deadlines: 27 s, 9 s for a transcript or a webhook. */
  withinSeconds?: Partial<Record<Service, number>>;
}

const treated =
  (how: Treatment): Failure["strike"] =>
  (to) =>
    wire.treatWork(to, how);
const refuse = (to: Service) => wire[to].refuse();
/** Calls to Retell end after 4.7 s instead of 24. */
const shortMs = 9_700;

const failures: Failure[] = [
  { how: "is down when an instance starts", strike: refuse, isCold: true },
  { how: "refuses connections", strike: refuse },
  { how: "takes calls and says nothing", strike: (to) => wire.treat(to, "hang"), sweepMs: 4_000 },
  { how: "answers 1 s late", strike: treated({ lateMs: 1_000 }), withinSeconds: { mongo: 6 } },
  { how: "answers 60 s late", strike: treated({ lateMs: 60_000 }), remainingMs: shortMs, sweepMs: 4_000 },
  { how: "breaks off in mid-answer", strike: treated("half") },
  { how: "answers garbage", strike: treated("garbage") },
  // MongoDB has no such answer.
  { how: "answers 429, Retry-After an hour", strike: treated("limited"), tellsTime: true, of: ["upstash", "retell"] },
  { how: "does what it is asked, then fails", strike: treated("fail") },
  {
    how: "hangs once Retell has acted",
    strike: (to) => {
      wire.retell.treat = () => {
        wire.treat(to, "hang");
        return "pass";
      };
    },
    of: ["mongo"],
    only: ["create", "message", "end"],
    remainingMs: shortMs,
  },
  { how: "is back after it was away", strike: refuse, isOver: true, tellsTime: true },
];

/** So many failures, and an instance gives a service up for a while; MongoDB never. */
const failuresUntilGivenUp = { mongo: 1, upstash: 3, retell: 5 } as const satisfies Record<Service, number>;

/** A row of the table; the columns in their order. */
interface Row {
  asked: string;
  answer: string;
  within: string;
  here: string;
  atRetell: string;
  again: string;
}

async function play(failure: Failure, to: Service): Promise<Row[]> {
  if (failure.only) {
    const rows: Row[] = [];
    for (const asked of failure.only) rows.push(...(await playAtOnce(failure, to, [asked])));
    return rows;
  }
  const rows = await playAtOnce(failure, to, endpoints);
  // The sweep goes over all tenants, and it does not ask Redis.
  return to === "upstash" ? rows : [...rows, ...(await playAtOnce(failure, to, ["sweep"]))];
}

/** Requests of one instance each, side by side, while a service fails and when it is well again. */
async function playAtOnce(failure: Failure, to: Service, asked: readonly Cell["asked"][]): Promise<Row[]> {
  await central.collection("subaccounts").deleteMany();
  await central.collection("chatsweeps").deleteMany(); // the sweep takes an emptied Redis for a restore
  vi.useRealTimers();
  const { isCold, remainingMs = 29_000, sweepMs = 12_000 } = failure;
  const limits = { remainingMs, sweepMs, isRedisAway: to === "upstash" };
  const cells: Cell[] = [];
  // One after the other: at once they would keep each other waiting, until a deadline of ours ends it.
  for (const what of asked) {
    const instance = await anInstance();
    cells.push(await aCell(what, { ...limits, instance, maker: isCold ? healthy : instance }));
  }
  const door = await anInstance(); // for a caller who is no member

  const { world } = cells[0] as Cell;
  await strike(failure, to, cells);
  const [answers, refusal] = await Promise.all([
    Promise.all(cells.map((cell) => timed(cell, remainingMs, failure.withinSeconds?.[to]))),
    door.call("list", { ...owned(world), token: world.stranger.token }),
  ]);
  expect([403, 503]).toContain(refusal.status);
  quickest(answers);
  await wire.quiet();
  const stored = await Promise.all(cells.map((cell) => Promise.all([here(cell), atRetell(cell)])));

  await wire.heal();
  const again = await repeated(cells);
  await Promise.all(cells.map((cell) => nothingIsDoubledOrHidden(cell, healthy)));
  // Hundreds of clients that watch over a server would keep this process, and so the next failures, busy.
  await Promise.all([...cells.map(({ instance }) => instance), door].map(({ close }) => close()));
  return cells.map(({ asked }, i) => {
    const { answer = "", within = "" } = answers[i] ?? {};
    const [here = "", atRetell = ""] = stored[i] ?? [];
    return { asked, answer, within, here, atRetell, again: again[i] ?? "" };
  });
}

async function strike({ strike, isCold, isOver, tellsTime }: Failure, to: Service, cells: Cell[]): Promise<void> {
  if (isCold) await wire.flush();
  if (tellsTime) vi.useFakeTimers({ toFake: ["Date"] });
  await strike(to);
  if (!isOver) return;
  const giveUp = async ({ instance, world, chatId }: Cell) => {
    const read = { ...owned(world), chatId, query: { consistency: "strong" } };
    const create = { ...owned(world), body: { agentId: world.agentId } }; // failed reads of Retell's stop no sends
    for (let i = 0; i < failuresUntilGivenUp[to]; i++) {
      await (to === "retell" ? instance.call("create", create) : instance.call("transcript", read));
    }
  };
  await Promise.all(cells.map(giveUp));
  await wire.heal();
}

/** For a machine that has other things to do. Another wait for Mongo does not fit in. */
const marginMs = 1_400;

async function timed(cell: Cell, remainingMs: number, withinSeconds: number | undefined) {
  const elapsed = stopwatch();
  const { text } = await cell.ask();
  const ms = elapsed();
  if (cell.asked === "sweep") return { ms, answer: text, within: "–" };
  const longest = ["transcript", "webhook"].includes(cell.asked) ? 9 : 27;
  const seconds = withinSeconds ?? (ms < 3_000 + marginMs ? 3 : longest);
  expect(ms).toBeLessThan(Math.min(seconds * 1_000, remainingMs - 2_000) + marginMs);
  return { ms, answer: text, within: `≤ ${seconds} s` };
}

/** Parallel requests delay each other, so the fastest shows how long the wait was. */
function quickest(answers: Awaited<ReturnType<typeof timed>>[]): void {
  const times = answers.filter(({ within }) => within === "≤ 3 s").map(({ ms }) => ms);
  if (times.length > 0) expect(Math.min(...times)).toBeLessThan(3_000);
}

/** Seconds after which there may be more to tell: breakers, the lease, Retell's 429, the settle time. */
const waits = [0, 10, 40, 60, 330];

/** The same again, at once and then after each of the waits, until nothing is open. */
async function repeated(cells: Cell[]): Promise<string[]> {
  const tries = cells.map((): string[] => []);
  let open = [...cells.keys()];
  for (const [i, seconds] of waits.entries()) {
    const passedMs = (seconds - (waits[i - 1] ?? 0)) * 1_000;
    if (open.length > 0 && passedMs > 0) {
      const now = Date.now();
      vi.useFakeTimers({ toFake: ["Date"], now: now + passedMs });
    }
    const still: number[] = [];
    // One after the other: a Redis that is well must not be kept waiting.
    for (const index of open) {
      const cell = cells[index] as Cell;
      await age(cell, passedMs);
      const { text, isOpen } = await cell.ask();
      tries[index]?.push(seconds > 0 ? `after ${seconds} s ${text}` : text);
      if (isOpen) still.push(index);
    }
    open = still;
  }
  expect(open).toEqual([]);
  return tries.map((told) => [...new Set([told.at(0), told.at(-1)])].join("; "));
}

const services: [Service, string][] = [
  ["mongo", "MongoDB"],
  ["upstash", "Redis"],
  ["retell", "Retell"],
];

/** By service, and by what it does. */
const played: Record<string, Map<string, Row[]>> = {};

describe.each(services)("%s", (to, service) => {
  const rowsOf = new Map<string, Row[]>();
  played[service] = rowsOf;

  it.each(failures.filter(({ of = [to] }) => of.includes(to)))(
    "$how: answers are documented and in time, nothing is doubled or hidden, and no stranger gets in",
    async (failure) => {
      rowsOf.set(failure.how, await play(failure, to));
    },
  );
});

const columns = [
  "it …",
  "asked for",
  "answer",
  "within",
  "stored here",
  "at Retell",
  "the same again, once it is well",
];

/** A table in Markdown. What follows of every failure comes first, and failures of which the same follows are one. */
function tableOf(rowsOf: Map<string, Row[]>): string {
  const always = [...rowsOf.values()].reduce((common, rows) => common.filter((row) => rows.some(isSame(row))));
  const alike = Map.groupBy(rowsOf, ([, rows]) => JSON.stringify(rows));
  const lines = [...alike.values()].flatMap((group) => {
    const rows = (group[0]?.[1] ?? []).filter((row) => !always.some(isSame(row)));
    return linesOf(group.map(([how]) => how).join(";<br>"), rows);
  });
  const head = [`| ${columns.join(" | ")} |`, `|${"---|".repeat(columns.length)}`];
  return [...head, ...linesOf("does any of this", always), ...lines, ""].join("\n");
}

const isSame = (row: Row) => (other: Row) => JSON.stringify(row) === JSON.stringify(other);

/** Requests that come to the same are one line. */
function linesOf(how: string, rows: Row[]): string[] {
  const groups = Map.groupBy(rows, ({ asked: _, ...rest }) => Object.values(rest).join(" | "));
  return [...groups].map(
    ([rest, rows], i) => `| ${i === 0 ? how : ""} | ${rows.map(({ asked }) => asked).join(", ")} | ${rest} |`,
  );
}

it("docs/failures.md shows what happened", async () => {
  const path = fileURLToPath(new URL("../docs/failures.md", import.meta.url));
  const document = await readFile(path, "utf8");
  // The words are written by hand; the tables are written here.
  const sections = document.split(/^(?=## )/m).map((section) => {
    const rowsOf = played[section.match(/^## (.*)/)?.[1] ?? ""];
    return rowsOf ? section.replace(/^\|.*\n(\|.*\n)*/m, tableOf(rowsOf)) : section;
  });
  await expect(sections.join("")).toMatchFileSnapshot(path);
});
