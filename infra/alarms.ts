import { defaultTimeoutSeconds, type Route, routeKey } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { type Metric, namespace } from "../lib/platform/metrics.ts";
import { type Alarm, gatewayThrottles, type MetricSource, ownMetric, type Severity } from "./alarm.ts";

/** What is watched. `Id` is text, or an output that is known only while deploying. */
export interface WatchedStage<Id> {
  stage: string;
  apiId: Id;
  /** The queue of background jobs, and of its dead letters. */
  queueName: Id;
  deadLettersName: Id;
  /** How many functions may run at a time in the account and region. */
  concurrencyLimit: number;
}

/** Lambda's default limit per account and region. New accounts must request it (docs/deploying.md). */
export const defaultConcurrencyLimit = 1_000;

/** The threshold of the 95th percentile of answer times, in ms. Those of create, message and end include the agent. */
const p95Ms: Partial<Record<keyof typeof routes, number>> = {
  create: 5_000,
  message: 15_000,
  end: 5_000,
  list: 1_000,
  search: 3_000,
  transcript: 3_000,
  export: 5_000,
  analytics: 10_000,
  delete: 5_000,
  "exports-create": 1_000,
  "exports-list": 1_000,
  "exports-get": 1_000,
  "exports-cancel": 3_000,
  webhook: 3_000,
};

/** Endpoints that always call Retell. */
const retellEndpoints = ["create", "message", "end"] as const satisfies (keyof typeof routes)[];

/** Every alarm of a stage. */
export function alarms<Id>(watched: WatchedStage<Id>): Alarm<Id>[] {
  return [
    ...errorRates(watched),
    ...latencies(watched.stage),
    ...counts(watched.stage),
    ...sweeps(watched.stage),
    ...background(watched),
    ...capacity(watched),
  ];
}

const defaults = { comparison: "GreaterThanThreshold", period: 300, periods: 1, missing: "notBreaching" } as const;

/** Half of an hour's requests. With little traffic, a few minutes may have one request or none. */
const majorityOfAnHour = { threshold: 50, period: 3_600, statistic: "Sum", minimum: 3 };

const ofLambda = (metricName: string) => ({ namespace: "AWS/Lambda", metricName, dimensions: {} });

/**
 * The gateway's counts have what no function has lived to log. They have the failures of single tenants, too, which are
 * taken off: one client that polls a tenant whose key is refused must not set off the alarm of all.
 */
function errorRates<Id>({ stage, apiId }: WatchedStage<Id>): Alarm<Id>[] {
  const atGateway = (metricName: string) => ({ namespace: "AWS/ApiGateway", metricName, dimensions: { ApiId: apiId } });
  const percentage = {
    source: atGateway("5xx"),
    total: { source: atGateway("Count"), statistic: "Sum" },
    except: { source: ownMetric(stage, "TenantFailures"), statistic: "Sum" },
  };
  return [
    {
      ...defaults,
      ...percentage,
      name: "error-rate",
      severity: "page",
      condition: "more than 2 % of requests are answered with 5xx, single tenants' failures left out",
      threshold: 2,
      periods: 2,
      statistic: "Sum",
      minimum: 3,
    },
    {
      ...defaults,
      ...majorityOfAnHour,
      ...percentage,
      name: "failing",
      severity: "page",
      condition: "more than half of all requests of an hour were answered with 5xx, single tenants' failures left out",
    },
    // Also by endpoint: among the requests of apps that poll lists, a few sends that all fail would not show. Other
    // failures with little traffic raise internal-errors, or sweep-not-running if MongoDB is away.
    ...retellEndpoints.map((name) => ({
      ...defaults,
      ...majorityOfAnHour,
      name: `failing-${name}`,
      severity: "page" as const,
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
      severity: "look" as const,
      section: "slow",
      condition: `one in twenty answers of ${routeKey(route)} takes longer than ${threshold / 1_000} s`,
      threshold,
      highest: (route.timeoutSeconds ?? defaultTimeoutSeconds) * 1_000,
      periods: 3,
      source: ownMetric(stage, "Duration", { Operation: route.name }),
      statistic: "p95",
      minimum: 20, // of fewer, one slow answer would be one in twenty
    };
  });
}

/** Alarms on the sum of one of our metrics over five minutes. */
function counts(stage: string): Alarm<never>[] {
  const table: [string, Severity, Metric | { errors: string }, number, string][] = [
    ["internal-errors", "look", { errors: "INTERNAL_ERROR" }, 0, "a request met a bug of ours"],
    ["retell-failures", "page", "RetellFailures", 10, "more than 10 calls to Retell in 5 minutes got no useful answer"],
    ["mongo-failures", "page", "MongoFailures", 3, "MongoDB could not be reached more than 3 times in 5 minutes"],
    ["degraded-limits", "page", "DegradedLimits", 20, "more than 20 requests in 5 minutes were limited without Redis"],
    [
      "webhook-signatures",
      "look",
      { errors: "INVALID_SIGNATURE" },
      5,
      "more than 5 webhooks in 5 minutes had no valid signature",
    ],
    [
      "changed-database",
      "look",
      "ChangedDatabases",
      0,
      "a subaccount's chats are in another database than before; the sweep ends none of its chats at Retell",
    ],
  ];
  return table.map(([name, severity, metric, threshold, condition]) => ({
    ...defaults,
    name,
    severity,
    condition,
    threshold,
    source: typeof metric === "string" ? ownMetric(stage, metric) : ownMetric(stage, "Errors", { Code: metric.errors }),
    statistic: "Sum",
  }));
}

/** What only the sweep sees, which visits every subaccount each minute: also those that nobody uses. */
function sweeps(stage: string): Alarm<never>[] {
  const highest = (metric: Metric): { source: MetricSource<never>; statistic: string } => ({
    source: ownMetric(stage, metric),
    statistic: "Maximum",
  });
  return [
    {
      ...defaults,
      ...highest("OldestOpenTurn"),
      name: "unknown-turns",
      severity: "page",
      condition: "a message has been of unknown outcome for more than 15 minutes",
      threshold: 900,
    },
    {
      ...defaults,
      name: "sweep-not-running",
      severity: "page",
      condition: "no run of the sweep has ended for 5 minutes",
      comparison: "LessThanThreshold",
      threshold: 1,
      missing: "breaching",
      source: ownMetric(stage, "Sweeps"),
      statistic: "Sum",
    },
    {
      ...defaults,
      ...highest("SubaccountsFailing"),
      name: "subaccounts-failing",
      severity: "look",
      condition: "at least one subaccount has not worked for 30 minutes",
      threshold: 0,
      periods: 6, // a cause of the tenant's own is looked at again every ten minutes: three times
    },
    {
      ...defaults,
      ...highest("SubaccountsFailing"),
      name: "many-subaccounts-failing",
      severity: "page",
      condition: "more than 10 % of subaccounts, and two at least, do not work",
      threshold: 10,
      periods: 2,
      total: highest("SubaccountsSwept"),
      minimum: 2,
    },
    {
      ...defaults,
      name: "sweep-failures",
      severity: "look",
      condition: "the sweep could not handle more than 10 subaccounts or chats in an hour, for causes of ours",
      threshold: 10,
      period: 3_600,
      source: ownMetric(stage, "SweepFailures"),
      statistic: "Sum",
    },
  ];
}

/** What stands still in the background. The sweep finds a job whose message is lost: these say why it was. */
function background<Id>({ stage, queueName, deadLettersName }: WatchedStage<Id>): Alarm<Id>[] {
  const ofQueue = (metricName: string, QueueName: Id) => ({
    namespace: "AWS/SQS",
    metricName,
    dimensions: { QueueName },
  });
  return [
    {
      ...defaults,
      name: "dead-letters",
      severity: "look",
      condition: "the queue has delivered a message five times in vain",
      threshold: 0,
      source: ofQueue("ApproximateNumberOfMessagesVisible", deadLettersName),
      statistic: "Maximum",
    },
    {
      ...defaults,
      name: "jobs-waiting",
      severity: "look",
      condition: "a background job has waited for a worker for more than 15 minutes",
      threshold: 900,
      periods: 2,
      source: ofQueue("ApproximateAgeOfOldestMessage", queueName),
      statistic: "Maximum",
    },
    {
      ...defaults,
      name: "jobs-failing",
      severity: "look",
      condition: "more than 3 background jobs have failed in an hour, each after seven attempts",
      threshold: 3,
      period: 3_600,
      source: ownMetric(stage, "JobsFailed"),
      statistic: "Sum",
    },
  ];
}

function capacity<Id>({ stage, concurrencyLimit }: WatchedStage<Id>): Alarm<never>[] {
  return [
    {
      ...defaults,
      name: "lambda-throttles",
      severity: "page",
      condition:
        "Lambda refused to run a function: too many were running, in this account and region or of this function",
      threshold: 0,
      source: ofLambda("Throttles"),
      statistic: "Sum",
    },
    {
      ...defaults,
      name: "gateway-throttles",
      severity: "page",
      condition: "the gateway refused more than 100 requests in 5 minutes: a route had more than it may",
      threshold: 100,
      source: { namespace, metricName: gatewayThrottles.metricName(stage), dimensions: {} },
      statistic: "Sum",
    },
    {
      ...defaults,
      name: "concurrency",
      severity: "look",
      condition: `more than 80 % of ${concurrencyLimit} functions run at a time in this account and region`,
      threshold: Math.floor(0.8 * concurrencyLimit),
      highest: concurrencyLimit,
      period: 60,
      periods: 3,
      source: ofLambda("ConcurrentExecutions"),
      statistic: "Maximum",
    },
  ];
}
