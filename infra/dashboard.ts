import { type Route, routeKey } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { type Metric, namespace } from "../lib/platform/metrics.ts";
import { gatewayThrottles, ownMetric } from "./alarm.ts";
import type { WatchedStage } from "./alarms.ts";
import { queries } from "./queries.ts";

type Watched<Id> = Pick<WatchedStage<Id>, "stage" | "apiId">;

type Line = unknown[];

/**
 * The dashboard of a stage, as CloudWatch takes it.
 *
 * @param alarmArns The alarms whose states are at the top.
 * @param overLogs  A query of Logs Insights, over the functions' logs.
 */
export function dashboard<Id>(
  watched: Watched<Id>,
  region: Id | string,
  alarmArns: Id[],
  overLogs: (query: string) => Id,
): object {
  const graphs = graphsOf(watched, region);
  const states = { type: "alarm", properties: { title: "Alarms", alarms: alarmArns } };
  const worst = "Worst subaccounts";
  const list = {
    type: "log",
    properties: { title: worst, region, query: overLogs(queries[worst].text), view: "table" },
  };
  return {
    widgets: [
      { ...states, x: 0, y: 0, width: 24, height: 4 },
      { ...list, x: 0, y: 4, width: 24, height: 6 },
      ...graphs.map((widget, i) => ({
        ...widget,
        x: 12 * (i % 2),
        y: 10 + 6 * Math.floor(i / 2),
        width: 12,
        height: 6,
      })),
    ],
  };
}

/** The metrics of a stage, as a graph takes them. */
function metricsOf<Id>({ stage, apiId }: Watched<Id>) {
  const own = (name: Metric, by: Record<string, string> = {}, options: object = {}): Line => {
    const { metricName, dimensions } = ownMetric(stage, name, by);
    return [namespace, metricName, ...Object.entries(dimensions).flat(), options];
  };
  const aws = (service: string, name: string, dimensions: unknown[], options: object = {}): Line => [
    `AWS/${service}`,
    name,
    ...dimensions,
    options,
  ];
  const gateway = (name: string, options: object) => aws("ApiGateway", name, ["ApiId", apiId], options);
  const byEndpoint = (name: Metric, stat: string) =>
    Object.values<Route>(routes)
      .filter(({ path }) => path.startsWith("/api/"))
      .map((route) => own(name, { Operation: route.name }, { stat, label: routeKey(route) }));
  return { own, aws, gateway, byEndpoint };
}

function graphsOf<Id>(watched: Watched<Id>, region: Id | string) {
  const { stage } = watched;
  const { own, aws, gateway, byEndpoint } = metricsOf(watched);
  const graph = (title: string, metrics: Line[], more: object = {}) => ({
    type: "metric",
    properties: { title, metrics, region, view: "timeSeries", stat: "Sum", period: 300, ...more },
  });
  const cached = ["list", "transcript"].flatMap((Operation, i) => [
    own("CacheHits", { Operation }, { id: `hits${i}`, visible: false }),
    own("CacheMisses", { Operation }, { id: `misses${i}`, visible: false }),
    [{ expression: `100 * FILL(hits${i}, 0) / (FILL(hits${i}, 0) + FILL(misses${i}, 0))`, label: Operation }],
  ]);
  const errorsByCode = `SEARCH('{${namespace},Stage,Code} MetricName="Errors" Stage="${stage}"', 'Sum', 300)`;

  return [
    graph("Requests", [
      gateway("Count", { label: "all" }),
      gateway("4xx", { label: "4xx" }),
      gateway("5xx", { label: "5xx" }),
    ]),
    graph("Subaccounts that do not work", [
      own("SubaccountsFailing", {}, { stat: "Maximum" }),
      own("SubaccountsSwept", {}, { stat: "Maximum", label: "of all", yAxis: "right" }),
      own("TenantFailures", {}, { label: "Their answers of 5xx", yAxis: "right" }),
    ]),
    graph("Errors by code", [[{ expression: errorsByCode, label: "" }]], { stacked: true }),
    graph("95 % of answers within, ms", byEndpoint("Duration", "p95")),
    graph("Half of answers within, ms", byEndpoint("Duration", "p50")),
    graph("Chats created, messages sent", [own("ChatsCreated"), own("MessagesSent")]),
    graph("Cache hit rate, %", cached, { yAxis: { left: { min: 0, max: 100 } } }),
    graph("A chat: duration in s, and messages", [
      own("ChatDuration", {}, { stat: "Average" }),
      own("MessagesPerChat", {}, { stat: "Average", yAxis: "right" }),
    ]),
    graph("Cost, US cents", [
      own("ChatCost", {}, { stat: "Average", label: "of a chat" }),
      own("ChatCost", {}, { stat: "Sum", label: "in all", yAxis: "right" }),
    ]),
    graph("Failures of what we depend on", [
      own("RetellFailures"),
      own("MongoFailures"),
      own("DegradedLimits"),
      own("Errors", { Code: "INVALID_SIGNATURE" }, { label: "Webhook signatures" }),
    ]),
    graph("Turns of unknown outcome", [
      own("UnknownTurns"),
      own("OldestOpenTurn", {}, { stat: "Maximum", label: "Age of the oldest, s", yAxis: "right" }),
      own("Sweeps", {}, { label: "Runs of the sweep" }),
      own("SweepFailures"),
    ]),
    graph("Background jobs", [own("JobsCompleted"), own("JobsFailed"), own("JobsRequeued"), own("QueueFailures")]),
    graph("Functions that run at a time (account and region)", [
      aws("Lambda", "ConcurrentExecutions", [], { stat: "Maximum" }),
    ]),
    graph("Refused before a function ran", [
      aws("Lambda", "Throttles", [], { label: "by Lambda" }),
      [namespace, gatewayThrottles.metricName(stage), { label: "by the gateway" }],
    ]),
    graph("Answers of 5xx", byEndpoint("Failures", "Sum")),
  ];
}
