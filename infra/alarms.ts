import { type Route, routeKey } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { type Metric, namespace } from "../lib/platform/metrics.ts";

/** What names the resources that are watched. `Id` is text, or text that a deployment does not know yet. */
export interface WatchedStage<Id> {
  stage: string;
  apiId: Id;
}

/** A metric of CloudWatch, as an alarm takes it. */
export interface MetricSource<Id> {
  namespace: string;
  metricName: string;
  dimensions: Record<string, string | Id>;
}

/** One alarm. */
export interface Alarm<Id> {
  name: string;
  /** The heading of docs/runbook.md under which stands what to do; absent: the name. */
  section?: string;
  /** What is compared, in words; with the threshold's unit. */
  condition: string;
  comparison: "GreaterThanThreshold" | "LessThanThreshold";
  threshold: number;
  /** Seconds of one data point, and how many of them must be beyond the threshold. */
  period: number;
  periods: number;
  /** What no data means. */
  missing: "notBreaching" | "breaching";
  source: MetricSource<Id>;
  /** Such as Sum, Maximum, p95. */
  statistic: string;
  /** In per cent of this one. */
  total?: { source: MetricSource<Id>; statistic: string };
  /** So many there must be for anything to be said: failures of a percentage; samples of a percentile, which has it. */
  minimum?: number;
}

/**
 * What is compared where that is no metric by itself, in CloudWatch's words: of `part`, which is the source, and of
 * `whole`, which is what it is a percentage of, or the source's sample count. What is too little for a verdict is 0.
 */
export function expressionOf({ total, minimum }: Alarm<unknown>): string | undefined {
  if (total) return `IF(FILL(part, 0) >= ${minimum ?? 1}, 100 * FILL(part, 0) / whole, 0)`;
  return minimum === undefined ? undefined : `IF(whole >= ${minimum}, part, 0)`;
}

/** So long may a description be. */
export const maxDescription = 1_024;

/**
 * What stands in an alarm's mail: what is wrong, and what to do. That is the runbook's own text, since nobody who is
 * woken up has the project at hand.
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

/** What an answer may take at the 95th percentile, in ms. With an agent in it, an answer takes what the agent takes. */
const p95Ms: Partial<Record<keyof typeof routes, number>> = {
  create: 5_000,
  message: 15_000,
  end: 5_000,
  list: 1_000,
  transcript: 3_000,
  webhook: 3_000,
};

/** Endpoints whose every answer needs Retell. */
const retellEndpoints = ["create", "message", "end"] as const satisfies (keyof typeof routes)[];

/** Lambda's default limit of an account and region; docs/deploying.md has new accounts ask for it. */
const concurrencyLimit = 1_000;

/** One of our metrics of a stage. */
export function ownMetric(stage: string, name: Metric, by: Record<string, string> = {}): MetricSource<never> {
  return { namespace, metricName: name, dimensions: { Stage: stage, ...by } };
}

/** Requests that the gateway itself has refused, counted in its log. */
export const gatewayThrottles = {
  metricName: (stage: string) => `GatewayThrottles-${stage}`,
  /** The status is the gateway's own where no function was asked. */
  pattern: '{ ($.status = 429) && ($.functionStatus = "-") }',
};

/** Every alarm of a stage. */
export function alarms<Id>({ stage, apiId }: WatchedStage<Id>): Alarm<Id>[] {
  const atGateway = (metricName: string) => ({ namespace: "AWS/ApiGateway", metricName, dimensions: { ApiId: apiId } });
  const ofLambda = (metricName: string) => ({ namespace: "AWS/Lambda", metricName, dimensions: {} });
  const usual = { comparison: "GreaterThanThreshold", period: 300, periods: 1, missing: "notBreaching" } as const;
  /** A percentage for little traffic: not of a few minutes, in which there may be a request or none. */
  const mostly = { threshold: 50, period: 3_600, statistic: "Sum", minimum: 3 };

  /** A count of ours, over five minutes. */
  const count = (name: string, metric: Metric, threshold: number, condition: string, by?: Record<string, string>) => ({
    ...usual,
    name,
    condition,
    threshold,
    source: ownMetric(stage, metric, by),
    statistic: "Sum",
  });

  return [
    {
      ...usual,
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
      ...usual,
      ...mostly,
      name: "failing",
      condition: "more than half of all requests of an hour were answered with 5xx",
      source: atGateway("5xx"),
      total: { source: atGateway("Count"), statistic: "Sum" },
    },
    // By endpoint too: apps that poll lists hide a few sends that all fail. Whatever else fails of little traffic is
    // told by internal-errors, or by sweep-not-running where it is MongoDB.
    ...retellEndpoints.map((name) => ({
      ...usual,
      ...mostly,
      name: `failing-${name}`,
      section: "failing",
      condition: `more than half of an hour's answers of ${routeKey(routes[name])} were 5xx`,
      source: ownMetric(stage, "Failures", { Operation: name }),
      total: { source: ownMetric(stage, "Duration", { Operation: name }), statistic: "SampleCount" },
    })),
    count("internal-errors", "Errors", 0, "a request met a bug of ours", { Code: "INTERNAL_ERROR" }),
    count("undecryptable-keys", "Errors", 0, "a stored Retell key could not be decrypted", {
      Code: "API_KEY_DECRYPTION_ERROR",
    }),
    ...Object.values<Route>(routes).flatMap((route) => {
      const threshold = p95Ms[route.name as keyof typeof routes];
      if (threshold === undefined) return [];
      return {
        ...usual,
        name: `slow-${route.name}`,
        section: "slow",
        condition: `one in twenty answers of ${routeKey(route)} takes longer than ${threshold / 1_000} s`,
        threshold,
        periods: 3,
        source: ownMetric(stage, "Duration", { Operation: route.name }),
        statistic: "p95",
        minimum: 20, // of fewer, one slow answer would be one in twenty
      };
    }),
    count("retell-failures", "RetellFailures", 10, "more than 10 calls to Retell in 5 minutes got no useful answer"),
    count("mongo-failures", "MongoFailures", 3, "MongoDB could not be reached more than 3 times in 5 minutes"),
    count("degraded-limits", "DegradedLimits", 20, "more than 20 requests in 5 minutes were limited without Redis"),
    {
      ...usual,
      name: "unknown-turns",
      condition: "a message has been of unknown outcome for more than 15 minutes",
      threshold: 900,
      source: ownMetric(stage, "OldestOpenTurn"),
      statistic: "Maximum",
    },
    {
      ...usual,
      name: "sweep-not-running",
      condition: "no run of the sweep has ended for 5 minutes",
      comparison: "LessThanThreshold",
      threshold: 1,
      missing: "breaching",
      source: ownMetric(stage, "Sweeps"),
      statistic: "Sum",
    },
    count(
      "changed-database",
      "ChangedDatabases",
      0,
      "a subaccount's chats are in another database than before; the sweep ends none of its chats at Retell",
    ),
    count("webhook-signatures", "Errors", 5, "more than 5 webhooks in 5 minutes had no valid signature", {
      Code: "INVALID_SIGNATURE",
    }),
    {
      ...usual,
      name: "lambda-throttles",
      condition:
        "Lambda refused to run a function: too many were running, in this account and region or of this function",
      threshold: 0,
      source: ofLambda("Throttles"),
      statistic: "Sum",
    },
    {
      ...usual,
      name: "gateway-throttles",
      condition: "the gateway refused more than 100 requests in 5 minutes: a route had more than it may",
      threshold: 100,
      source: { namespace, metricName: gatewayThrottles.metricName(stage), dimensions: {} },
      statistic: "Sum",
    },
    {
      ...usual,
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
