import { type Alarm, expressionOf, metricsOf } from "../../infra/alarm.ts";
import type { Query } from "../../infra/queries.ts";

/** One value that CloudWatch got, at a time in epoch ms. */
export interface Sample {
  /** Namespace, name and dimensions of its metric: see `keyOf`. */
  metric: string;
  at: number;
  value: number;
}

/** One spelling for a metric, whatever the order of its dimensions. */
export const keyOf = (namespace: string, name: string, dimensions: Record<string, string>) =>
  [namespace, name, ...Object.entries(dimensions).sort().flat()].join("|");

/** What CloudWatch makes of lines in its embedded metric format. */
export function samplesOf(lines: string[]): Sample[] {
  return lines.flatMap((text) => {
    const line = JSON.parse(text);
    const { Timestamp: at, CloudWatchMetrics: directives } = line._aws;
    return directives.flatMap(({ Namespace, Dimensions, Metrics }: Directive) =>
      Dimensions.flatMap((names) =>
        Metrics.flatMap(({ Name }) =>
          [line[Name]].flat().map((value: number) => {
            const dimensions = Object.fromEntries(names.map((name) => [name, String(line[name])]));
            return { metric: keyOf(Namespace, Name, dimensions), at, value };
          }),
        ),
      ),
    );
  });
}

interface Directive {
  Namespace: string;
  Dimensions: string[][];
  Metrics: { Name: string }[];
}

/** Undefined where there is no sample, which is no zero. */
function statisticOf(values: number[], statistic: string): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const sum = values.reduce((total, value) => total + value, 0);
  const percentile = /^p(\d+)$/.exec(statistic)?.[1];
  if (values.length === 0) return undefined;
  if (percentile) return sorted[Math.ceil((Number(percentile) / 100) * sorted.length) - 1];
  return { Sum: sum, SampleCount: values.length, Maximum: sorted.at(-1), Average: sum / values.length }[statistic];
}

/** The value that an alarm compares, of the values of its metrics; undefined where it is missing. */
export function comparedOf(alarm: Alarm<string>, values: Record<string, number | undefined>): number | undefined {
  const expression = expressionOf(alarm);
  if (expression === undefined) return values.part;
  const functions = {
    IF: (is: boolean, one: number, other: number) => (is ? one : other),
    FILL: (value: number, instead: number) => (Number.isNaN(value) ? instead : value),
  };
  const names = ["part", "whole", "off"];
  const compute = new Function(...Object.keys(functions), ...names, `return ${expression}`);
  // What is calculated with a missing value is missing.
  const value = compute(...Object.values(functions), ...names.map((name) => values[name] ?? Number.NaN));
  return Number.isNaN(value) ? undefined : value;
}

/** Whether a value is beyond an alarm's threshold. */
export function isBeyond(alarm: Alarm<string>, value: number | undefined): boolean {
  if (value === undefined) return alarm.missing === "breaching";
  return alarm.comparison === "GreaterThanThreshold" ? value > alarm.threshold : value < alarm.threshold;
}

/** The names of the alarms that have gone off by a time, by the periods that are complete then. */
export function goneOff(alarms: Alarm<string>[], samples: Sample[], now: number): string[] {
  const byMetric = Map.groupBy(samples, ({ metric }) => metric);
  const valueIn = (alarm: Alarm<string>, from: number, to: number) => {
    const values = metricsOf(alarm).map(({ id, source, statistic }) => {
      const all = byMetric.get(keyOf(source.namespace, source.metricName, source.dimensions)) ?? [];
      const within = all.filter(({ at }) => at >= from && at < to).map(({ value }) => value);
      return [id, statisticOf(within, statistic)];
    });
    return comparedOf(alarm, Object.fromEntries(values));
  };
  return alarms
    .filter((alarm) => {
      const ms = alarm.period * 1_000;
      const end = Math.floor(now / ms) * ms;
      const starts = Array.from({ length: alarm.periods }, (_, i) => end - (i + 1) * ms);
      return starts.every((from) => isBeyond(alarm, valueIn(alarm, from, from + ms)));
    })
    .map(({ name }) => name);
}

type Line = Record<string, unknown>;

/**
 * What Logs Insights makes of log lines, oldest first, by a query of the kind `filter … | stats … by … | sort … desc`.
 * Of its functions, it knows `ispresent`, `count` and `latest`.
 */
export function rowsOf({ text }: Query, lines: Line[]): Line[] {
  const part = (name: string) => new RegExp(`^(?:\\| )?${name} ([^|]*)$`, "m").exec(text)?.[1]?.trim() ?? "";
  const condition = part("filter")
    .replaceAll(/ispresent\((\w+)\)/g, '("$1" in line)')
    .replaceAll(/(\w+) (>=|<) (\d+)/g, 'line["$1"] $2 $3')
    .replaceAll(" and ", " && ")
    .replaceAll(" or ", " || ");
  const isMeant = new Function("line", `return ${condition}`) as (line: Line) => boolean;
  const [, columns = "", by = ""] = /^(.*) by (\w+)$/s.exec(part("stats")) ?? [];
  const rows = Array.from(
    Map.groupBy(lines.filter(isMeant), (line) => line[by]),
    ([group, some]) => {
      const cells = columns.matchAll(/(count|latest)\(([^)]*)\) as (\w+)/g);
      const values = Array.from(cells, ([, kind, field = "", name]) => [
        name,
        kind === "count" ? some.length : some.at(-1)?.[field],
      ]);
      return { [by]: group, ...Object.fromEntries(values) };
    },
  );
  const [order = ""] = part("sort").split(" ");
  return rows.sort((a, b) => Number(b[order]) - Number(a[order]));
}
