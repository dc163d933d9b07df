/// <reference path="../.sst/platform/config.d.ts" />

interface Options {
  api: sst.aws.ApiGatewayV2;
  /** The log groups of the functions. */
  logs: $util.Input<string>[];
  /** Whether the stage gets alarms and a dashboard. Every stage gets saved queries. */
  isWatched: boolean;
  /** Where alarms are sent to. */
  email: string | undefined;
}

/** Deploys the queries of queries.ts, and for a watched stage the alarms of alarms.ts and the dashboard. */
export async function monitoring({ api, logs, isWatched, email }: Options): Promise<void> {
  // In two parts for the reason in sst.config.ts.
  const { queries }: Queries = await import("./" + "queries.ts");
  const { alarms, descriptionOf, expressionOf, gatewayThrottles }: Alarms = await import("./" + "alarms.ts");
  const { dashboard }: Dashboard = await import("./" + "dashboard.ts");
  const { namespace }: { namespace: string } = await import("../lib/platform/" + "metrics.ts");
  const named = (name: string) => `${$app.name}-${$app.stage}-${name}`;
  const accessLog = api.nodes.logGroup.name;

  for (const [name, query] of Object.entries(queries)) {
    new aws.cloudwatch.QueryDefinition(`Query${name.replace(/\W/g, "")}`, {
      name: `${$app.name}-${$app.stage}/${name}`,
      logGroupNames: query.logs === "gateway" ? [accessLog] : logs,
      queryString: query.text.trim(),
    });
  }
  if (!isWatched) return;

  new aws.cloudwatch.LogMetricFilter("GatewayThrottles", {
    name: named("gateway-throttles"),
    logGroupName: accessLog,
    pattern: gatewayThrottles.pattern,
    metricTransformation: { name: gatewayThrottles.metricName($app.stage), namespace, value: "1" },
  });

  const topic = email ? new aws.sns.Topic("Alarms", { name: named("alarms") }) : undefined;
  if (topic && email) new aws.sns.TopicSubscription("AlarmEmail", { topic, protocol: "email", endpoint: email });

  const { readFileSync } = await import("node:fs");
  const runbook = readFileSync(`${$cli.paths.root}/docs/runbook.md`, "utf8");
  const watched = { stage: $app.stage, apiId: api.nodes.api.id };
  const made = alarms(watched).map(
    (alarm) =>
      new aws.cloudwatch.MetricAlarm(`Alarm-${alarm.name}`, {
        name: named(alarm.name),
        alarmDescription: descriptionOf(alarm, runbook, $app.stage),
        comparisonOperator: alarm.comparison,
        threshold: alarm.threshold,
        evaluationPeriods: alarm.periods,
        treatMissingData: alarm.missing,
        ...measured(alarm, expressionOf(alarm)),
        alarmActions: topic ? [topic.arn] : [],
        okActions: topic ? [topic.arn] : [],
      }),
  );
  new aws.cloudwatch.Dashboard("Dashboard", {
    dashboardName: named("dashboard"),
    dashboardBody: $jsonStringify(
      dashboard(
        watched,
        aws.getRegionOutput().region,
        made.map(({ arn }) => arn),
      ),
    ),
  });
}

/** A plain metric, or the expression of `expressionOf` over two metrics. */
function measured(alarm: Alarm, expression: string | undefined): Partial<aws.cloudwatch.MetricAlarmArgs> {
  const { source, statistic, period, total } = alarm;
  if (expression === undefined) return { ...source, period, statistic };
  const whole = total ?? { source, statistic: "SampleCount" };
  return {
    metricQueries: [
      { id: "part", metric: { ...source, period, stat: statistic } },
      { id: "whole", metric: { ...whole.source, period, stat: whole.statistic } },
      { id: "compared", expression, label: total ? "%" : statistic, returnData: true },
    ],
  };
}

type Id = $util.Output<string>;

interface Source {
  namespace: string;
  metricName: string;
  dimensions: Record<string, string | Id>;
}

/** The parts of the other files that are used here. */
interface Alarm {
  name: string;
  comparison: string;
  threshold: number;
  period: number;
  periods: number;
  missing: string;
  source: Source;
  statistic: string;
  total?: { source: Source; statistic: string };
}

interface Queries {
  queries: Record<string, { logs: "functions" | "gateway"; text: string }>;
}

interface Alarms {
  alarms(watched: { stage: string; apiId: Id }): Alarm[];
  descriptionOf(alarm: Alarm, runbook: string, stage: string): string;
  expressionOf(alarm: Alarm): string | undefined;
  gatewayThrottles: { metricName(stage: string): string; pattern: string };
}

interface Dashboard {
  dashboard(watched: { stage: string; apiId: Id }, region: Id, alarmArns: Id[]): object;
}
