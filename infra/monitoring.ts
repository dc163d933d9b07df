/// <reference path="../.sst/platform/config.d.ts" />

interface Options {
  api: sst.aws.ApiGatewayV2;
  /** The names of the queue of background jobs and of its dead letters. */
  jobs: { queueName: $util.Output<string>; deadLettersName: $util.Output<string> };
  /** The log groups of the functions. */
  logs: $util.Input<string>[];
  /** Whether the stage gets alarms and a dashboard. Every stage gets saved queries. */
  isWatched: boolean;
  /** Where alarms are sent to, by their severity. */
  emails: { page: string | undefined; look: string | undefined };
}

/** Deploys the queries of queries.ts, and for a watched stage the alarms of alarms.ts and the dashboard. */
export async function monitoring({ api, jobs, logs, isWatched, emails }: Options): Promise<void> {
  // In two parts for the reason in sst.config.ts.
  const { queries }: Queries = await import("./" + "queries.ts");
  const { alarms, defaultConcurrencyLimit }: Alarms = await import("./" + "alarms.ts");
  const { cannotFire, descriptionOf, expressionOf, gatewayThrottles, metricsOf }: AlarmParts = await import(
    "./" + "alarm.ts"
  );
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

  // Two topics, so that a pager can subscribe to one of them.
  const topicFor = (name: string, endpoint: string | undefined) => {
    if (!endpoint) return [];
    const topic = new aws.sns.Topic(`${name}s`, { name: named(`${name.toLowerCase()}s`) });
    new aws.sns.TopicSubscription(`${name}Email`, { topic, protocol: "email", endpoint });
    return [topic.arn];
  };
  const topics = { look: topicFor("Alarm", emails.look), page: topicFor("Page", emails.page) };

  const { readFileSync } = await import("node:fs");
  const runbook = readFileSync(`${$cli.paths.root}/docs/runbook.md`, "utf8");
  const concurrencyLimit = await limitOfFunctions(defaultConcurrencyLimit);
  const { queueName, deadLettersName } = jobs;
  const watched = { stage: $app.stage, apiId: api.nodes.api.id, queueName, deadLettersName, concurrencyLimit };
  const wanted = alarms(watched);
  for (const problem of cannotFire(wanted)) console.warn(problem);
  const made = wanted.map(
    (alarm) =>
      new aws.cloudwatch.MetricAlarm(`Alarm-${alarm.name}`, {
        name: named(alarm.name),
        alarmDescription: descriptionOf(alarm, runbook, $app.stage),
        comparisonOperator: alarm.comparison,
        threshold: alarm.threshold,
        evaluationPeriods: alarm.periods,
        treatMissingData: alarm.missing,
        ...measured(alarm, expressionOf(alarm), metricsOf(alarm)),
        alarmActions: topics[alarm.severity],
        okActions: topics[alarm.severity],
      }),
  );
  const overLogs = (query: string) =>
    $util.all(logs).apply((groups) => [...groups.map((group) => `SOURCE '${group}'`), query.trim()].join(" | "));
  new aws.cloudwatch.Dashboard("Dashboard", {
    dashboardName: named("dashboard"),
    dashboardBody: $jsonStringify(
      dashboard(
        watched,
        aws.getRegionOutput().region,
        made.map(({ arn }) => arn),
        overLogs,
      ),
    ),
  });
}

/** A plain metric, or the expression of `expressionOf` over several. */
function measured(
  { source, statistic, period, total }: Alarm,
  expression: string | undefined,
  metrics: { id: string; source: Source; statistic: string }[],
): Partial<aws.cloudwatch.MetricAlarmArgs> {
  if (expression === undefined) return { ...source, period, statistic };
  return {
    metricQueries: [
      ...metrics.map((one) => ({ id: one.id, metric: { ...one.source, period, stat: one.statistic } })),
      { id: "compared", expression, label: total ? "%" : statistic, returnData: true },
    ],
  };
}

/** How many functions may run at a time in this account and region: an alarm above that could never go off. */
async function limitOfFunctions(fallback: number): Promise<number> {
  const quota = { serviceCode: "lambda", quotaCode: "L-B99A9384" }; // "Concurrent executions"
  const value = await aws.servicequotas.getServiceQuota(quota).then(
    (found) => found.value,
    () => undefined,
  );
  if (!value) {
    console.warn(
      `How many functions may run at a time is not known (the deploying role needs servicequotas:GetServiceQuota). The alarm concurrency takes it for ${fallback}; where it is less than four fifths of that, the alarm cannot go off.`,
    );
  } else if (value < fallback) {
    console.warn(
      `This account lets ${value} functions run at a time in this region. A message holds one for seconds: ask AWS for ${fallback} (docs/deploying.md).`,
    );
  }
  return value || fallback;
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
  severity: "page" | "look";
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

interface Watched {
  stage: string;
  apiId: Id;
  queueName: Id;
  deadLettersName: Id;
  concurrencyLimit: number;
}

interface Alarms {
  alarms(watched: Watched): Alarm[];
  defaultConcurrencyLimit: number;
}

interface AlarmParts {
  cannotFire(alarms: Alarm[]): string[];
  descriptionOf(alarm: Alarm, runbook: string, stage: string): string;
  expressionOf(alarm: Alarm): string | undefined;
  metricsOf(alarm: Alarm): { id: string; source: Source; statistic: string }[];
  gatewayThrottles: { metricName(stage: string): string; pattern: string };
}

interface Dashboard {
  dashboard(
    watched: { stage: string; apiId: Id },
    region: Id,
    alarmArns: Id[],
    overLogs: (query: string) => Id,
  ): object;
}
