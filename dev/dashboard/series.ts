import * as z from "zod";
import { metrics, namespace } from "../../lib/platform/metrics.ts";
import { isMetric } from "../start/log-line.ts";
import type { Graph, Line } from "./definition.ts";
import { evaluate, type Points } from "./math.ts";

const MetricLine = z.looseObject({
  _aws: z.object({
    Timestamp: z.number(),
    CloudWatchMetrics: z.array(
      z.object({
        Namespace: z.string(),
        Dimensions: z.array(z.array(z.string())),
        Metrics: z.array(z.object({ Name: z.string() })),
      }),
    ),
  }),
});

/** What was measured under one name and one set of dimensions, as CloudWatch keeps it. `at` is epoch ms. */
export interface Measured {
  namespace: string;
  name: string;
  dimensions: Record<string, string>;
  samples: { at: number; value: number }[];
}

/** All that is measured, by `keyOf`. */
export type Store = ReadonlyMap<string, Measured>;

/** What is drawn: every period that begins at or after `from` and before `until`, both multiples of `periodMs`. */
export interface Window {
  from: number;
  until: number;
  periodMs: number;
}

/** One line of a graph. */
export interface Series {
  label: string;
  /** CloudWatch's name of it; of metric math there is none. */
  unit: string | undefined;
  axis: "left" | "right";
  /** Undefined: AWS measures it, so no line of ours holds it. */
  points: Points | undefined;
}

type Source = Pick<Measured, "namespace" | "name" | "dimensions">;

const keyOf = ({ namespace, name, dimensions }: Source) =>
  JSON.stringify([namespace, name, Object.entries(dimensions).sort(([a], [b]) => (a < b ? -1 : 1))]);

/** Sorts the samples of a log. Lines that hold none, or are cut short, are passed over. */
export function measuredIn(lines: Iterable<string>): Store {
  const store = new Map<string, Measured>();
  for (const line of lines) {
    const fields = parse(line);
    if (!fields) continue;
    const at = fields._aws.Timestamp;
    for (const { Namespace, Dimensions, Metrics } of fields._aws.CloudWatchMetrics) {
      for (const names of Dimensions) {
        const dimensions = Object.fromEntries(names.map((name) => [name, String(fields[name])]));
        for (const { Name } of Metrics) {
          const source = { namespace: Namespace, name: Name, dimensions };
          const measured = store.get(keyOf(source)) ?? { ...source, samples: [] };
          store.set(keyOf(source), measured);
          measured.samples.push(...[fields[Name]].flat().map((value) => ({ at, value: Number(value) })));
        }
      }
    }
  }
  return store;
}

function parse(line: string): z.infer<typeof MetricLine> | undefined {
  if (!isMetric(line)) return undefined;
  try {
    return MetricLine.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/** The beginning of every period of a window. */
export function timesOf({ from, until, periodMs }: Window): number[] {
  return Array.from({ length: Math.round((until - from) / periodMs) }, (_, i) => from + i * periodMs);
}

/** What a graph shows, in its order. The window's period stands in for the graph's own. */
export function seriesOf({ metrics: lines, stat }: Graph["properties"], store: Store, window: Window): Series[] {
  const byId = new Map<string, Points | undefined>();
  const shown: Series[] = [];
  for (const line of lines) {
    if (line.kind === "expression") {
      shown.push(...ofExpression(line, byId, store, window));
      continue;
    }
    const { points, unit } = ofMetric(line, line.stat ?? stat, store, window);
    if (line.id) byId.set(line.id, points);
    if (line.visible) shown.push({ label: line.label ?? line.name, unit, axis: line.yAxis, points });
  }
  return shown;
}

function ofMetric(source: Source, stat: string, store: Store, window: Window): Pick<Series, "points" | "unit"> {
  const ours: Record<string, { unit: string }> = source.namespace === namespace ? metrics : {};
  const unit = ours[source.name]?.unit;
  return { unit, points: unit ? aggregated(store.get(keyOf(source)), stat, window) : undefined };
}

function ofExpression(
  { expression, label }: Extract<Line, { kind: "expression" }>,
  byId: ReadonlyMap<string, Points | undefined>,
  store: Store,
  window: Window,
): Series[] {
  const found = searched(expression, store);
  if (found) {
    return found.of.map((measured) => ({
      label: `${label} ${measured.dimensions[found.by] ?? ""}`.trim(),
      unit: undefined,
      axis: "left",
      points: aggregated(measured, found.stat, window),
    }));
  }
  const ids = expression.match(/\b[a-z]\w*/g) ?? []; // functions are in capitals
  const isOurs = ids.every((id) => !byId.has(id) || byId.get(id));
  const known = new Map([...byId].flatMap(([id, points]) => (points ? [[id, points] as const] : [])));
  const points = isOurs ? evaluate(expression, known, timesOf(window)) : undefined;
  return [{ label, unit: undefined, axis: "left", points }];
}

/** `SEARCH('{Namespace,Dimension,…} Name="value" …', 'Stat', period)`: what it finds, told apart `by` a dimension. */
function searched(expression: string, store: Store): { of: Measured[]; stat: string; by: string } | undefined {
  const [, schema, terms = "", stat = ""] = /^SEARCH\('\{(.*)\} (.*)', '(\w+)', \d+\)$/.exec(expression) ?? [];
  if (!schema) return undefined;
  const [searchedNamespace, ...names] = schema.split(",");
  const wanted = [...terms.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = "", value]) => [name, value] as const);
  const of = [...store.values()]
    .filter(({ namespace, name, dimensions }) => {
      const about: Record<string, string> = { ...dimensions, MetricName: name };
      const hasAll = Object.keys(dimensions).length === names.length && names.every((each) => each in dimensions);
      return namespace === searchedNamespace && hasAll && wanted.every(([each, value]) => about[each] === value);
    })
    .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  return { of, stat, by: names.find((name) => wanted.every(([each]) => each !== name)) ?? "" };
}

function aggregated(measured: Measured | undefined, stat: string, { from, until, periodMs }: Window): Points {
  const periods = new Map<number, number[]>();
  for (const { at, value } of measured?.samples ?? []) {
    if (at < from || at >= until) continue;
    const begin = at - (at % periodMs);
    const values = periods.get(begin);
    if (values) values.push(value);
    else periods.set(begin, [value]);
  }
  return new Map([...periods].sort(([a], [b]) => a - b).map(([begin, values]) => [begin, statistic(stat, values)]));
}

/** Percentiles by nearest rank; CloudWatch's own are estimates. */
function statistic(stat: string, values: number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  if (stat === "Sum") return sum;
  if (stat === "Average") return sum / values.length;
  const percent = stat === "Maximum" ? 100 : Number(/^p(\d+(?:\.\d+)?)$/.exec(stat)?.[1]);
  const rank = Math.max(1, Math.ceil((percent / 100) * values.length));
  const value = values.toSorted((a, b) => a - b)[rank - 1];
  if (value === undefined) throw new Error(`A statistic that cannot be computed here: ${stat}`);
  return value;
}
