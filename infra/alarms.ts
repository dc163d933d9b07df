import { type Route, routeKey } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { type Metric, namespace } from "../lib/platform/metrics.ts";

/** The names of the watched resources. `Id` is text, or an output that is known only while deploying. */
export interface WatchedStage<Id> {
  stage: string;
  apiId: Id;
}

/** A metric of CloudWatch. */
export interface MetricSource<Id> {
  namespace: string;
  metricName: string;
  dimensions: Record<string, string | Id>;
}

export interface Alarm<Id> {
  name: string;
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
  /** The least number of failures for a percentage, or of samples for a percentile. With fewer, it does not go off. */
  minimum?: number;
}

/**
 * CloudWatch's metric math for an alarm that compares no plain metric; undefined for the others. `part` is the source.
 * `whole` is the total of a percentage, or the source's sample count. Below `minimum` the result is 0.
 */
export function expressionOf({ total, minimum }: Alarm<unknown>): string | undefined {
  if (total) return `IF(FILL(part, 0) >= ${minimum ?? 1}, 100 * FILL(part, 0) / whole, 0)`;
  return minimum === undefined ? undefined : `IF(whole >= ${minimum}, part, 0)`;
}

/** CloudWatch's limit for a description. */
export const maxDescription = 1_024;

/**
 * The text of an alarm's mail: what is wrong, and what to do. It contains the runbook's section, because the person on
 * call may not have the project at hand.
 */
export function descriptionOf(
  { name, section = name, condition }: Alarm<unknown>,
  runbook: string,
  stage: string,
): string {
  const [, text = ""] = runbook.split(`\n### ${section}\n`);
  const advice = text.split(/\n##/)[0]?.trim().replaceAll("<stage>", stage);
  return `${condition}.\n\n${advice}\n\ndocs/runbook.md#${section}`;
}

/** The threshold of the 95th percentile of answer times, in ms. Those of create, message and end include the agent. */
const p95Ms: Partial<Record<keyof typeof routes, number>> = {
  create: 5_000,
  message: 15_000,
  end: 5_000,
  list: 1_000,
  transcript: 3_000,
  webhook: 3_000,
};

/** Endpoints that always call Retell. */
const retellEndpoints = ["create", "message", "end"] as const satisfies (keyof typeof routes)[];

/** Lambda's default limit per account and region. New accounts must request it (docs/deploying.md). */
const concurrencyLimit = 1_000;

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

/** Every alarm of a stage. */
export function alarms<Id>({ stage, apiId }: WatchedStage<Id>): Alarm<Id>[] {
  return [...errorRates(stage, apiId), ...latencies(stage), ...failures(stage), ...sweeps(stage), ...capacity(stage)];
}

const defaults = { comparison: "GreaterThanThreshold", period: 300, periods: 1, missing: "notBreaching" } as const;

/** Half of an hour's requests. With little traffic, a few minutes may have one request or none. */
const majorityOfAnHour = { threshold: 50, period: 3_600, statistic: "Sum", minimum: 3 };

/** The sum of one of our metrics over five minutes. */
const count = (
  stage: string,
  name: string,
  metric: Metric,
  threshold: number,
  condition: string,
  by?: Record<string, string>,
) => ({ ...defaults, name, condition, threshold, source: ownMetric(stage, metric, by), statistic: "Sum" });

function errorRates<Id>(stage: string, apiId: Id): Alarm<Id>[] {
  const atGateway = (metricName: string) => ({ namespace: "AWS/ApiGateway", metricName, dimensions: { ApiId: apiId } });
  return [
    {
      ...defaults,
      name: "error-rate",
      condition: "more than 2 % of requests are answered with 5xx",
      threshold: 2,
      periods: 2,
      source: atGateway("5xx"),
      statistic: "Sum",
      total: { source: atGateway("Count"), statistic: "Sum" },
      minimum: 3,
    },
    {
      ...defaults,
      ...majorityOfAnHour,
      name: "failing",
      condition: "more than half of all requests of an hour were answered with 5xx",
      source: atGateway("5xx"),
      total: { source: atGateway("Count"), statistic: "Sum" },
    },
    // Also by endpoint: among the requests of apps that poll lists, a few sends that all fail would not show. Other
    // failures with little traffic raise internal-errors, or sweep-not-running if MongoDB is away.
    ...retellEndpoints.map((name) => ({
      ...defaults,
      ...majorityOfAnHour,
      name: `failing-${name}`,
      section: "failing",
      condition: `more than half of an hour's answers of ${routeKey(routes[name])} were 5xx`,
      source: ownMetric(stage, "Failures", { Operation: name }),
      total: { source: ownMetric(stage, "Duration", { Operation: name }), statistic: "SampleCount" },
    })),
  ];
}

function latencies(stage: string): Alarm<never>[] {
  return Object.values<Route>(routes).flatMap((route) => {
    const threshold = p95Ms[route.name as keyof typeof routes];
    if (threshold === undefined) return [];
    return {
      ...defaults,
      name: `slow-${route.name}`,
      section: "slow",
      condition: `one in twenty answers of ${routeKey(route)} takes longer than ${threshold / 1_000} s`,
      threshold,
      periods: 3,
      source: ownMetric(stage, "Duration", { Operation: route.name }),
      statistic: "p95",
      minimum: 20, // of fewer, one slow answer would be one in twenty
    };
  });
}

function failures(stage: string): Alarm<never>[] {
  return [
    count(stage, "internal-errors", "Errors", 0, "a request met a bug of ours", { Code: "INTERNAL_ERROR" }),
    count(stage, "undecryptable-keys", "Errors", 0, "a stored Retell key could not be decrypted", {
      Code: "API_KEY_DECRYPTION_ERROR",
    }),
    count(
      stage,
      "retell-failures",
      "RetellFailures",
      10,
      "more than 10 calls to Retell in 5 minutes got no useful answer",
    ),
    count(stage, "mongo-failures", "MongoFailures", 3, "MongoDB could not be reached more than 3 times in 5 minutes"),
    count(
      stage,
      "degraded-limits",
      "DegradedLimits",
      20,
      "more than 20 requests in 5 minutes were limited without Redis",
    ),
    count(stage, "webhook-signatures", "Errors", 5, "more than 5 webhooks in 5 minutes had no valid signature", {
      Code: "INVALID_SIGNATURE",
    }),
  ];
}

function sweeps(stage: string): Alarm<never>[] {
  return [
    {
      ...defaults,
      name: "unknown-turns",
      condition: "a message has been of unknown outcome for more than 15 minutes",
      threshold: 900,
      source: ownMetric(stage, "OldestOpenTurn"),
      statistic: "Maximum",
    },
    {
      ...defaults,
      name: "sweep-not-running",
      condition: "no run of the sweep has ended for 5 minutes",
      comparison: "LessThanThreshold",
      threshold: 1,
      missing: "breaching",
      source: ownMetric(stage, "Sweeps"),
      statistic: "Sum",
    },
    count(
      stage,
      "changed-database",
      "ChangedDatabases",
      0,
      "a subaccount's chats are in another database than before; the sweep ends none of its chats at Retell",
    ),
  ];
}

function capacity(stage: string): Alarm<never>[] {
  const ofLambda = (metricName: string) => ({ namespace: "AWS/Lambda", metricName, dimensions: {} });
  return [
    {
      ...defaults,
      name: "lambda-throttles",
      condition:
        "Lambda refused to run a function: too many were running, in this account and region or of this function",
      threshold: 0,
      source: ofLambda("Throttles"),
      statistic: "Sum",
    },
    {
      ...defaults,
      name: "gateway-throttles",
      condition: "the gateway refused more than 100 requests in 5 minutes: a route had more than it may",
      threshold: 100,
      source: { namespace, metricName: gatewayThrottles.metricName(stage), dimensions: {} },
      statistic: "Sum",
    },
    {
      ...defaults,
      name: "concurrency",
      condition: `more than 80 % of ${concurrencyLimit} functions run at a time in this account and region`,
      threshold: 0.8 * concurrencyLimit,
      period: 60,
      periods: 3,
      source: ofLambda("ConcurrentExecutions"),
      statistic: "Maximum",
    },
  ];
}
