/** `npm run dashboard`: the dashboard of a deployed stage, drawn from the local gateway's log. */
import { readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { alarms } from "../infra/alarms.ts";
import { dashboard } from "../infra/dashboard.ts";
import { stage } from "../lib/platform/stage.ts";
import { Definition } from "./dashboard/definition.ts";
import { drawn } from "./dashboard/draw.ts";
import { measuredIn, type Store, type Window } from "./dashboard/series.ts";
import { DEFAULT_FOLDER } from "./start/folder.ts";

const periods = [10, 60, 300, 3_600];
const mostPeriods = 120;

/** The dashboard as it is deployed; its alarms are known by name alone. */
export function definitionOf(stage: string): Definition {
  const watched = { stage, apiId: "" };
  const names = alarms(watched).map(({ name }) => name);
  return Definition.parse(dashboard(watched, "", names));
}

/**
 * The last so many minutes of what was measured.
 *
 * @param seconds Of a period. Absent: the shortest that leaves a graph readable.
 * @returns Undefined when nothing was.
 */
export function windowOf(store: Store, minutes: number, seconds?: number): Window | undefined {
  let [first, last] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const { samples } of store.values()) {
    for (const { at } of samples) [first, last] = [Math.min(first, at), Math.max(last, at)];
  }
  if (first > last) return undefined;
  const begin = Math.max(first, last - minutes * 60_000);
  const fitting = periods.find((each) => (last - begin) / 1_000 / each <= mostPeriods) ?? 86_400;
  const periodMs = (seconds ?? fitting) * 1_000;
  return {
    from: Math.floor(begin / periodMs) * periodMs,
    until: (Math.floor(last / periodMs) + 1) * periodMs,
    periodMs,
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      log: { type: "string", default: join(DEFAULT_FOLDER, "gateway.log") },
      out: { type: "string", default: join(DEFAULT_FOLDER, "dashboard.svg") },
      minutes: { type: "string", default: "180" },
      period: { type: "string" },
    },
  });
  const minutes = positive("--minutes", values.minutes);
  const seconds = values.period === undefined ? undefined : positive("--period", values.period);
  const log = await readFile(values.log, "utf8").catch(() => {
    throw new Error(`${values.log} cannot be read: npm start writes it`);
  });
  const store = measuredIn(log.split("\n"));
  const window = windowOf(store, minutes, seconds);
  if (!window) throw new Error(`${values.log} holds no metrics yet: send a request`);
  await writeFile(values.out, drawn(`ScalAI Chat, stage ${stage()}`, definitionOf(stage()), store, window));
  console.log(`${relative(process.cwd(), values.out)}: open it in a browser`);
}

function positive(name: string, text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new Error(`${name} is ${text}, no positive number`);
  return number;
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
