import { type Metric, namespace } from "../lib/platform/metrics.ts";

/** A metric of CloudWatch. `Id` is text, or an output that is known only while deploying. */
export interface MetricSource<Id> {
  namespace: string;
  metricName: string;
  dimensions: Record<string, string | Id>;
}

/**
 * Who is told, and when:
 * - `page`: at once, because callers of many tenants are failing, or soon will be
 * - `look`: by a mail that can wait for the next working day: one tenant, or nothing that callers notice yet
 */
export type Severity = "page" | "look";

export interface Alarm<Id> {
  name: string;
  severity: Severity;
  /** The heading in docs/runbook.md that says what to do. Default: the name. */
  section?: string;
  /** When it goes off, for people, with the threshold's unit. */
  condition: string;
  comparison: "GreaterThanThreshold" | "LessThanThreshold";
  threshold: number;
  /** Seconds of a data point, and how many data points in a row must be beyond the threshold. */
  period: number;
  periods: number;
  /** How a period without data counts. */
  missing: "notBreaching" | "breaching";
  source: MetricSource<Id>;
  /** Such as Sum, Maximum, p95. */
  statistic: string;
  /** Present: the source is compared as a percentage of this. */
  total?: { source: MetricSource<Id>; statistic: string };
  /** Subtracted from the source and the total: what both count, and this alarm must ignore. */
  except?: { source: MetricSource<Id>; statistic: string };
  /** The least number of failures for a percentage, or of samples for a percentile. With fewer, it does not go off. */
  minimum?: number;
  /** The highest value that the metric can have, where it has one. */
  highest?: number;
}

/**
 * CloudWatch's metric math for an alarm that compares no plain metric; undefined for the others. `part` is the source.
 * `whole` is the total of a percentage, or the source's sample count; `off` is what is taken off. Below `minimum` the
 * result is 0.
 */
export function expressionOf({ total, except, minimum }: Alarm<unknown>): string | undefined {
  const less = (value: string) => (except ? `(${value} - FILL(off, 0))` : value);
  const part = less("FILL(part, 0)");
  if (total) return `IF(${part} >= ${minimum ?? 1}, 100 * ${part} / ${less("whole")}, 0)`;
  return minimum === undefined ? undefined : `IF(whole >= ${minimum}, part, 0)`;
}

/** The metrics of an alarm's expression, by their names in it. */
export function metricsOf<Id>({ source, statistic, total, except }: Alarm<Id>) {
  return [
    { id: "part", source, statistic },
    { id: "whole", ...(total ?? { source, statistic: "SampleCount" }) },
    ...(except ? [{ id: "off", ...except }] : []),
  ];
}

/** Why alarms can never go off; empty where all can. Said when deploying. */
export function cannotFire(alarms: Alarm<unknown>[]): string[] {
  return alarms
    .filter(({ threshold, highest }) => highest !== undefined && threshold >= highest)
    .map(({ name, threshold, highest }) => `The alarm ${name} cannot go off: ${threshold} is not below ${highest}`);
}

/** CloudWatch's limit for a description. */
export const maxDescription = 1_024;

/** How a mail begins, so that its reader knows whether to get up. */
const urgency: Record<Severity, string> = { page: "Now", look: "Next working day" };

/**
 * The text of an alarm's mail: how urgent it is, what is wrong, and what to do. It contains the runbook's section,
 * because the person on call may not have the project at hand.
 */
export function descriptionOf(
  { name, severity, section = name, condition }: Alarm<unknown>,
  runbook: string,
  stage: string,
): string {
  const [, text = ""] = runbook.split(`\n### ${section}\n`);
  const advice = text.split(/\n##/)[0]?.trim().replaceAll("<stage>", stage);
  return `${urgency[severity]}: ${condition}.\n\n${advice}\n\ndocs/runbook.md#${section}`;
}

/** One of our own metrics. */
export function ownMetric(stage: string, name: Metric, by: Record<string, string> = {}): MetricSource<never> {
  return { namespace, metricName: name, dimensions: { Stage: stage, ...by } };
}

/** Counts the requests that the gateway itself has refused, by its log. */
export const gatewayThrottles = {
  metricName: (stage: string) => `GatewayThrottles-${stage}`,
  /** Without a function status, the status is the gateway's own. */
  pattern: '{ ($.status = 429) && ($.functionStatus = "-") }',
};
