import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createDecipheriv } from "node:crypto";
import { once } from "node:events";
import { appendFile, cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { type Alarm, maxDescription } from "../infra/alarm.ts";
import { alarms, defaultConcurrencyLimit } from "../infra/alarms.ts";
import { functions as everyFunction } from "../infra/build.ts";
import { concurrentWorkers, deadLetterDays, uses, visibilitySeconds, workerSeconds } from "../infra/jobs.ts";
import { queries } from "../infra/queries.ts";
import { cors } from "../lib/api/cors.ts";
import { type Route, routeKey } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { secrets as links } from "../lib/platform/config.ts";

/**
 * What sst.config.ts deploys, told by SST's own CLI without an AWS account, and what the built functions answer under
 * Lambda's Node runtime. SST_CHECK names the folder of rig.py; `node --test .ci/sst-check.ts` runs it.
 */
const rig = process.env.SST_CHECK ?? "";
const project = join(import.meta.dirname, "..");
const rows = Object.values<Route>(routes);
const guarded = rows.filter((row) => row.permission);
const invalid = { authorization: "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA" };

const run = promisify(execFile);

/** Runs rig.py. It gives the builds ten seconds, which a busy machine may exceed: then once more. */
async function python(...args: string[]): Promise<{ stdout: string }> {
  const attempt = () => run("python3", [join(rig, "rig.py"), ...args], { maxBuffer: 1e8 });
  return attempt().catch((error) =>
    String(error.stderr).includes("never resolved") ? attempt() : Promise.reject(error),
  );
}

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sst-check-"));
});
after(() => rm(folder, { recursive: true, force: true }));

// biome-ignore lint/suspicious/noExplicitAny: reports of another tool; what is not as expected fails a check
type Json = any;
let ada: Json;
let production: Json;
let staging: Json;

/** Deploys to a stage of an imitation of AWS, and reads what was asked of it. */
async function deploy(stage: string, ...options: string[]): Promise<Json> {
  const [out, artifacts] = [join(folder, `${stage}.json`), join(folder, stage)];
  await python(
    "resources",
    project,
    "--stage",
    stage,
    "--out",
    out,
    "--artifacts",
    artifacts,
    ...withSecrets,
    ...options,
  );
  return JSON.parse(await readFile(out, "utf8"));
}

/** Of a secret: recognisable, wherever it should turn up. */
const secretOf = (name: string) =>
  name.endsWith("Url") ? `${name === "MongodbUrl" ? "mongodb" : "https"}://secret-${name}.example` : `secret-${name}`;

const withSecrets = Object.values(links).flatMap((name) => ["--secret", `${name}=${secretOf(name)}`]);

const functionOf = ({ name }: Route, report = ada): Json =>
  report.summary.functions.find(
    ({ component }: Json) => component.toLowerCase() === `apiroute${name.replaceAll("-", "")}handler`,
  );

/** Invokes a function of stage ada, as it would be deployed. */
async function invoke(row: Route, headers: Record<string, string> = {}) {
  const { component } = functionOf(row);
  const path = row.path === "$default" ? "/nowhere" : row.path.replace(/\{\w+\}/g, "0123456789abcdef01234567");
  const method = row.method === "ANY" ? "GET" : row.method;
  const requestContext = { requestId: "an-id", http: { method, path }, routeKey: routeKey(row) };
  const event = { version: "2.0", routeKey: routeKey(row), rawPath: path, headers, requestContext };
  const { stdout } = await run("node", [
    ...[join(rig, "invoke.mjs"), "--resources", join(folder, "ada.json"), "--artifacts", join(folder, "ada")],
    ...["--function", component, "--event", JSON.stringify(event)],
  ]);
  const { invocations, stdout: said, stderr: complained } = JSON.parse(stdout);
  const { statusCode, body } = invocations[0].result;
  return { status: statusCode, body: JSON.parse(body), log: `${said}${complained}`.trim().split("\n") };
}

test("sst.config.ts passes the strict type check against SST's own types", async () => {
  await python("types", project);
});

test("it deploys to a personal stage and to production, without problems", async () => {
  const withSettings = (...settings: string[]) => settings.flatMap((pair) => ["--env", pair]);
  ada = await deploy("ada", ...withSettings("RATE_LIMIT_LIST=77"));
  production = await deploy(
    "production",
    ...withSettings(
      "DOMAIN=api.example.com",
      "CORS_ORIGINS=https://a.example, https://b.example",
      "ALARM_EMAIL=night@example.com",
      "PAGE_EMAIL=pager@example.com",
      "RESERVED_CONCURRENCY=message=300,sweep=2",
    ),
  );
  staging = await deploy(
    "staging",
    ...withSettings("ALARM_EMAIL=night@example.com", "TRACING=active", "CONSOLE=1", "CORS_ORIGINS=https://a.example"),
  );
  for (const { summary } of [ada, production]) assert.deepEqual([summary.errors, summary.problems], [[], []]);
  // X-Ray knows no narrower permission: with traces it is the one thing to find.
  const problems = staging.summary.problems.filter((problem: Json) => !JSON.stringify(problem).includes("xray:"));
  assert.deepEqual([staging.summary.errors, problems], [[], []]);
});

test("with CONSOLE the pages are a static site that knows the API, may call it, and may not be framed; else there is none", () => {
  const of = (report: Json, type: string) =>
    report.resources.filter((resource: Json) => resource.type === type).map(({ inputs }: Json) => inputs);
  const [headers] = of(staging, "aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy");
  const { contentSecurityPolicy: csp, frameOptions, strictTransportSecurity } = headers.securityHeadersConfig;
  assert.match(
    csp.contentSecurityPolicy,
    /script-src 'self'; .*connect-src 'self' https:\/\/\*\.execute-api\.[\w-]+\.amazonaws\.com;/,
  );
  assert.deepEqual([frameOptions.frameOption, strictTransportSecurity.accessControlMaxAgeSec > 0], ["DENY", true]);
  const [behavior] = staging.summary.sites.flatMap(({ behaviors }: Json) => behaviors);
  assert.equal(behavior.headersPolicy, "ConsoleHeaders");
  const [config] = of(staging, "aws:s3/bucketObjectv2:BucketObjectv2").filter(({ key }: Json) => key === "config.json");
  assert.deepEqual([JSON.parse(config.content), config.cacheControl], [{ apiUrl: staging.outputs.url }, "no-store"]);
  const [{ corsConfiguration }] = staging.summary.apis;
  assert.deepEqual(corsConfiguration.allowOrigins, ["https://a.example", staging.outputs.console]);
  assert.match(staging.outputs.console, /^https:\/\/[^/]+$/);
  for (const { summary } of [ada, production]) assert.deepEqual(summary.sites, []);
});

test("the routes that come out are the table's", () => {
  const wanted = rows.map((row) => ({
    routeKey: routeKey(row),
    authorization: "NONE",
    function: functionOf(row)?.component,
    payload: "2.0",
    timeoutMilliseconds: 30_000,
  }));
  const byKey = (a: Json, b: Json) => (a.routeKey < b.routeKey ? -1 : 1);
  for (const { summary } of [ada, production]) assert.deepEqual(summary.routes.sort(byKey), wanted.sort(byKey));
  const served = ada.summary.functions.filter(({ component }: Json) => component.startsWith("ApiRoute"));
  assert.equal(served.length, rows.length);
});

test("every function has its row's memory and time, arm64, Node 24 and JSON logs that expire", () => {
  for (const row of rows) {
    const { memorySize, timeout, architectures, runtime, loggingConfig } = functionOf(row);
    assert.deepEqual(
      { memory: `${memorySize} MB`, timeout, architectures, runtime, format: loggingConfig.logFormat },
      {
        memory: row.memory,
        timeout: row.timeoutSeconds ?? 29,
        architectures: ["arm64"],
        runtime: "nodejs24.x",
        format: "JSON",
      },
    );
  }
  const days = (report: Json) => new Set(report.summary.logGroups.map((group: Json) => group.retentionInDays));
  assert.equal(ada.summary.logGroups.length, everyFunction.length + 1); // and the gateway's
  assert.deepEqual([days(ada), days(production)], [new Set([7]), new Set([90])]);
});

/** What a function may do besides writing its log, by its row. */
const mayDo: Record<string, string[]> = {
  "exports-create": ["sqs:SendMessage", "s3:GetObject"], // a repeat may sign a link
  "exports-list": ["s3:GetObject"],
  "exports-get": ["s3:GetObject"],
  "exports-cancel": ["s3:DeleteObject", "s3:AbortMultipartUpload"],
  sweep: ["sqs:SendMessage"],
  worker: [
    ...["ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ReceiveMessage"].map(
      (action) => `sqs:${action}`,
    ),
    ...["sqs:SendMessage", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
  ],
};
const componentOf = (name: string) =>
  ({ sweep: /^sweepHandler$/, worker: /^JobsSubscriber/ })[name] ??
  new RegExp(`^apiroute${name.replaceAll("-", "")}handler$`, "i");
const allowedTo = (component: string) =>
  (Object.entries(mayDo).find(([name]) => componentOf(name).test(component))?.[1] ?? []).toSorted();
const actionsOf = ({ statements }: Json): string[] => statements.flatMap(({ Action }: Json) => [Action].flat());

test("a function may write its log, and do what its row in infra/jobs.ts says, with that queue and those files alone", () => {
  const functions = [ada, production].flatMap(({ summary }) => summary.functions);
  for (const { component, statements, managedPolicies } of functions) {
    assert.deepEqual(actionsOf({ statements }).sort(), allowedTo(component), component);
    for (const { Resource } of statements) assert.doesNotMatch(JSON.stringify(Resource), /"\*"|:\*"/);
    assert.deepEqual(managedPolicies, ["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]);
  }
});

test("with TRACING every function is traced, and may besides write its traces", () => {
  for (const { component, statements } of staging.summary.functions) {
    const traces = statements.filter(({ Action }: Json) => String(Action).includes("xray:"));
    assert.deepEqual(
      traces.map(({ Action, Resource }: Json) => [[Action].flat(), [Resource].flat()]),
      [[["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"]]],
    );
    const others = actionsOf({ statements }).filter((action) => !action.startsWith("xray:"));
    assert.deepEqual(others.sort(), allowedTo(component));
  }
  const modes = (report: Json) =>
    report.resources
      .filter(({ type }: Json) => type === "aws:lambda/function:Function")
      .map(({ inputs }: Json) => inputs.tracingConfig?.mode);
  assert.deepEqual(new Set(modes(staging)), new Set(["Active"]));
  assert.deepEqual(new Set(modes(production)), new Set([undefined]));
});

test("only functions that work for a subaccount are linked to the secrets, and have settings in their environment", async () => {
  const own = ["SST_KEY", "SST_KEY_FILE", "SST_RESOURCE_App", "STAGE"];
  for (const row of rows.filter(({ params }) => !params)) {
    assert.deepEqual(functionOf(row).environment, own);
    assert.deepEqual(await linksOf(functionOf(row)), []);
  }
  for (const row of rows.filter(({ params }) => params)) {
    const used = uses[row.name] ?? [];
    const where = [
      ...(used.includes("send jobs") ? ["JOBS_QUEUE_URL"] : []),
      ...(used.some((use) => use.endsWith("files")) ? ["FILES_BUCKET"] : []),
    ];
    assert.deepEqual(functionOf(row).environment.sort(), [...own, ...where, "RATE_LIMIT_LIST"].sort());
    assert.deepEqual(functionOf(row, production).environment.sort(), [...own, ...where].sort());
    assert.deepEqual(await linksOf(functionOf(row)), ada.summary.secrets);
  }
});

test("no secret stands in clear in what is deployed, but for SST's own state of it", () => {
  for (const report of [ada, production]) {
    const deployed = report.resources.filter(({ type }: Json) => type.startsWith("aws:"));
    assert.ok(deployed.length > rows.length);
    const text = JSON.stringify(deployed);
    assert.deepEqual(
      Object.values(links).filter((name) => text.includes(secretOf(name))),
      [],
    );
  }
});

test("a deployment names every missing secret and malformed setting at once, and no value", async () => {
  const out = join(folder, "refused.json");
  const wrong = ["RATE_LIMIT_LIST=zero-77", "DOMAIN=nowhere-77", "POWERTOOLS_LOG_LEVEL=ERROR"];
  const options = wrong.flatMap((pair) => ["--env", pair]);
  await assert.rejects(
    run("python3", [join(rig, "rig.py"), "resources", project, "--strict-secrets", "--out", out, ...options]),
  );
  const [{ message }] = JSON.parse(await readFile(out, "utf8")).errors;
  const optional: string[] = [links.ENCRYPTION_KEYS_OLD, links.JWT_SECRETS_OLD];
  for (const name of Object.values(links))
    assert.equal(message.includes(`secret ${name} `), !optional.includes(name), name);
  for (const pair of wrong) assert.ok(message.includes(`${pair.split("=")[0]} is malformed`), pair);
  assert.doesNotMatch(message, /77/);
});

test("production has its own address alone, its reserved functions, and alarms that tell somebody", () => {
  const [api] = production.resources.filter(({ type }: Json) => type === "aws:apigatewayv2/api:Api");
  assert.equal(api.inputs.disableExecuteApiEndpoint, true);
  assert.equal(production.outputs.url, "https://api.example.com");
  const concurrency = ({ summary, resources }: Json) =>
    Object.fromEntries(
      summary.functions.map(({ component }: Json) => {
        const { inputs } = resources.find(({ name }: Json) => name === `${component}Function`);
        return [component, inputs.reservedConcurrentExecutions];
      }),
    );
  assert.equal(concurrency(production).ApiRouteMessageHandler, 300);
  assert.equal(concurrency(production).sweepHandler, 2);
  assert.deepEqual(new Set(Object.values(concurrency(ada))), new Set([undefined]));
});

test("alarms and a dashboard watch production and staging, and no other stage; staging's tell nobody", () => {
  const all = alarms({
    ...{ stage: "production", apiId: "", queueName: "", deadLettersName: "" },
    concurrencyLimit: defaultConcurrencyLimit,
  });
  const wanted = all.map(({ name }) => `scalai-chat-production-${name}`);
  const made = (report: Json) =>
    report.resources.filter(({ type }: Json) => type === "aws:cloudwatch/metricAlarm:MetricAlarm");
  const names = made(production).map(({ inputs }: Json) => inputs.name);
  assert.deepEqual(names.sort(), wanted.sort());
  assert.deepEqual([made(staging).length, made(ada).length], [wanted.length, 0]);
  for (const { inputs } of made(production)) {
    assert.equal(inputs.alarmActions.length, 1);
    assert.match(inputs.alarmDescription, /^.+\n\n.{50,}\n\ndocs\/runbook\.md#[a-z-]+$/s);
    assert.ok(inputs.alarmDescription.length <= maxDescription);
    assert.ok(inputs.metricName || inputs.metricQueries.length >= 3);
    const { severity } = all.find(({ name }) => inputs.name === `scalai-chat-production-${name}`) as Alarm<string>;
    assert.match(inputs.alarmActions[0], severity === "page" ? /pages/ : /alarms/);
  }
  const mailed = production.resources.filter(
    ({ type }: Json) => type === "aws:sns/topicSubscription:TopicSubscription",
  );
  assert.deepEqual(mailed.map(({ inputs }: Json) => inputs.endpoint).sort(), [
    "night@example.com",
    "pager@example.com",
  ]);
  for (const { inputs } of made(staging)) assert.deepEqual(inputs.alarmActions, []);
  assert.deepEqual(
    [ada, staging, production].map(({ summary }) => summary.dashboards.length),
    [0, 1, 1],
  );
  const { widgets } = JSON.parse(production.summary.dashboards[0].dashboardBody);
  assert.equal(widgets[0].properties.alarms.length, wanted.length);
  const sources = widgets[1].properties.query.match(/SOURCE '([^']+)'/g);
  assert.equal(sources.length, everyFunction.length);
  // The imitation tells no limit of functions: a deployment says what it takes it for.
  assert.match(production.warnings.join(), /takes it for 1000/);
});

test("every stage has the saved queries, over all functions' logs or the gateway's", () => {
  for (const { summary } of [ada, production]) {
    const logs = summary.logGroups.map(({ name }: Json) => name);
    const saved = new Map(summary.queries.map((query: Json) => [query.name.replace(/^.*\//, ""), query]));
    assert.deepEqual([...saved.keys()].sort(), Object.keys(queries).sort());
    for (const [name, query] of Object.entries(queries)) {
      const { logGroupNames, queryString }: Json = saved.get(name);
      assert.equal(queryString, query.text.trim());
      assert.equal(logGroupNames.length, query.logs === "gateway" ? 1 : everyFunction.length);
      assert.ok(logGroupNames.every((group: string) => logs.includes(group)));
    }
  }
});

/** What a function's encrypted file holds. */
async function linksOf({ component }: Json): Promise<string[]> {
  const { inputs } = ada.resources.find(({ name }: Json) => name === `${component}Function`);
  const variables = inputs.environment.$secret?.variables ?? inputs.environment.variables;
  const key = Buffer.from(variables.SST_KEY.$secret ?? variables.SST_KEY, "base64");
  const sealed = await readFile(join(folder, "ada", component, "resource.enc"));
  const decipher = createDecipheriv("aes-256-gcm", key, Buffer.alloc(12)).setAuthTag(sealed.subarray(-16));
  const text = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]).toString();
  return Object.keys(JSON.parse(text)).sort();
}

test("the sweep runs every minute, with its secrets, and for two minutes at most", async () => {
  const [{ scheduleExpression, state }] = ada.summary.schedules;
  assert.deepEqual([scheduleExpression, state], ["rate(1 minute)", "ENABLED"]);
  const sweep = ada.summary.functions.find(({ component }: Json) => component === "sweepHandler");
  assert.equal(sweep.timeout, 120);
  assert.deepEqual(await linksOf(sweep), ada.summary.secrets);
});

test("background jobs have a queue that keeps what fails, a bucket that forgets after a day, and a worker that may no more than it needs", async () => {
  const of = (type: string) =>
    ada.resources.filter((resource: Json) => resource.type === type).map(({ inputs }: Json) => inputs);
  const queues = of("aws:sqs/queue:Queue");
  const seconds = queues.map((queue: Json) => [queue.visibilityTimeoutSeconds, queue.messageRetentionSeconds]);
  assert.ok(seconds.some(([visibility]: number[]) => visibility === visibilitySeconds));
  assert.ok(seconds.some(([, retention]: number[]) => retention === deadLetterDays * 86_400));
  const [mapping] = of("aws:lambda/eventSourceMapping:EventSourceMapping");
  assert.deepEqual([mapping.batchSize, mapping.functionResponseTypes], [1, ["ReportBatchItemFailures"]]);
  assert.equal(mapping.scalingConfig.maximumConcurrency, concurrentWorkers);
  const lifecycles = of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration");
  const [rule] = lifecycles.flatMap(({ rules }: Json) => rules);
  assert.deepEqual([rule.expiration.days, rule.abortIncompleteMultipartUpload.daysAfterInitiation], [1, 1]);

  const worker = ada.summary.functions.find(({ component }: Json) => componentOf("worker").test(component));
  assert.equal(worker.timeout, workerSeconds);
  assert.deepEqual(await linksOf(worker), ada.summary.secrets);
});

test("the worker answers the queue's event, and asks for a message again that it could not read", async () => {
  const { component } = ada.summary.functions.find((found: Json) => componentOf("worker").test(found.component));
  const { stdout } = await run("node", [
    ...[join(rig, "invoke.mjs"), "--resources", join(folder, "ada.json"), "--artifacts", join(folder, "ada")],
    ...["--function", component, "--event", "SQS no-job"],
  ]);
  const [{ result }] = JSON.parse(stdout).invocations;
  assert.equal(result.batchItemFailures.length, 1);
});

test("the API speaks CORS for the origins of CORS_ORIGINS, and for all without", () => {
  const { allowMethods, allowHeaders, exposeHeaders, maxAgeSeconds: maxAge } = cors;
  const others = { allowMethods, allowHeaders, exposeHeaders, maxAge };
  const [named, all] = [production, ada].map(({ summary }) => summary.apis[0].corsConfiguration);
  assert.deepEqual(named, { allowOrigins: ["https://a.example", "https://b.example"], ...others });
  assert.deepEqual(all, { allowOrigins: ["*"], ...others });
});

test("the API throttles, and its access log is JSON", () => {
  const [{ defaultRouteSettings, accessLogSettings }] = ada.summary.stages;
  assert.ok(defaultRouteSettings.throttlingRateLimit > 0 && defaultRouteSettings.throttlingBurstLimit > 0);
  const line = JSON.parse(accessLogSettings.format.replaceAll(/\$context[.\w]+/g, "1"));
  assert.deepEqual([line.route, line.status, line.duration], ["1", 1, 1]);
});

test("production is protected and keeps its logs; other stages leave nothing but what SST keeps itself", () => {
  assert.deepEqual([ada.outputs._protect, production.outputs._protect], [false, true]);
  const kept = ({ summary }: Json) => summary.retained.filter((name: string) => !/Sourcemap\d+$/.test(name));
  assert.deepEqual(kept(ada), []);
  assert.equal(kept(production).length, production.summary.logGroups.length + 1); // and the bucket of exports
});

test("the outputs name the URL and every log group", () => {
  const { url, _protect, ...logs } = ada.outputs;
  assert.match(url, /^https:/);
  assert.deepEqual(Object.values(logs).sort(), ada.summary.logGroups.map(({ name }: Json) => name).sort());
});

test("sst-env.d.ts is the one that a deployment writes", async () => {
  assert.equal(await readFile(join(project, "sst-env.d.ts"), "utf8"), ada.sstEnv);
});

test("every function is what npm run build makes of it, and its links", () => {
  for (const { component, bundle } of ada.summary.functions) {
    const isPublic = /Health|Default|Openapi/.test(component);
    const code = isPublic ? ["index.cjs"] : ["index.cjs", "mongo-driver.cjs"];
    const files = Object.keys(bundle.files).filter((file) => !file.endsWith("/"));
    const own = files.filter((file) => !file.startsWith("node_modules/"));
    const isExport = component === "ApiRouteExportHandler"; // a PDF needs faces, and code that nothing else loads
    assert.deepEqual(own.sort(), [...code, ...(isExport ? ["pdf.cjs"] : []), "resource.enc"].sort(), component);
    assert.equal(
      files.some((file) => file.endsWith(".woff2")),
      isExport,
      component,
    );
  }
});

test("every function loads under Lambda's Node runtime", async (context) => {
  const { stdout } = await python("smoke", project, "--repeat", "3", ...withSecrets);
  for (const { function: name, ok, zipBytes, initMs } of JSON.parse(stdout).functions) {
    assert.ok(ok, name);
    context.diagnostic(`${name}: zip ${Math.round(zipBytes / 1024)} kB, init ${initMs.median} ms`);
  }
});

test("routes that anybody may call answer in our envelope, and log one line of JSON and one of metrics", async () => {
  const [health, nowhere] = await Promise.all([invoke(routes.health), invoke(routes.default)]);
  assert.deepEqual([health.status, health.body.success, health.body.data.status], [200, true, "ok"]);
  assert.deepEqual([nowhere.status, nowhere.body.success, nowhere.body.code], [404, false, "NOT_FOUND"]);
  for (const { body, log } of [health, nowhere]) assertLogged(body, log);
});

test("guarded routes refuse who has no token, and who has none that the linked secret has signed", async () => {
  for (const row of guarded) {
    const [none, bad] = await Promise.all([invoke(row), invoke(row, invalid)]);
    assert.deepEqual([none.status, none.body.code], [401, "ACCESS_TOKEN_REQUIRED"], row.name);
    assert.deepEqual([bad.status, bad.body.code], [401, "INVALID_ACCESS_TOKEN"], row.name);
    for (const { body, log } of [none, bad]) assertLogged(body, log);
  }
});

function assertLogged(body: Json, log: string[]): void {
  assert.equal(log.length, 2, log.join("\n"));
  const [{ operationId, level, status }, measured] = log.map((line) => JSON.parse(line));
  assert.deepEqual([measured.operationId, measured.Stage], [body.meta.operationId, "ada"]);
  assert.deepEqual([operationId, level, typeof status], [body.meta.operationId, "INFO", "number"]);
}

/** An imitation of AWS that outlives one command, and the environment in which SST's CLI works on it. */
async function anAws(folders: string[]): Promise<{ aws: ChildProcess; env: NodeJS.ProcessEnv }> {
  const script = `
import json, os, pathlib, sys
sys.path.insert(0, sys.argv[1])
import rig
rig.setup()
for folder in sys.argv[2:]: rig.install_platform(pathlib.Path(folder), "staging")
with rig.emulated_aws("us-east-1") as url:
    credentials = {"AWS_ACCESS_KEY_ID": "rig", "AWS_SECRET_ACCESS_KEY": "rig", "AWS_REGION": "us-east-1"}
    none = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "SST_AWS_NO_PROFILE": "1"}
    print(json.dumps(rig.rig_env({"AWS_ENDPOINT_URL": url, "SST_RIG_SECRETS": "strict", **credentials, **none})), flush=True)
    sys.stdin.read()`;
  const home = process.env.SST_RIG_HOME ?? join(homedir(), ".cache/sst-rig");
  const aws = spawn(join(home, "venv/bin/python"), ["-c", script, rig, ...folders], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = await once(aws.stdout, "data");
  return { aws, env: JSON.parse(String(line)) };
}

test("a release that does not work takes itself back, step by step", async (context) => {
  const builds = { earlier: join(folder, "earlier"), later: join(folder, "later") };
  const record = join(folder, "release.json");
  for (const [name, path] of Object.entries(builds)) {
    const left = /\/(\.git|\.sst|\.local|\.env.*|node_modules)$/;
    await cp(project, path, { recursive: true, filter: (source) => !left.test(source) });
    await symlink(join(project, "node_modules"), join(path, "node_modules"));
    await run("node", ["infra/build.ts", "--quiet"], { cwd: path });
    await appendFile(join(path, "dist/health/index.cjs"), `\n// the ${name} build`);
    // Stands in for the commands: there is nothing here whose indexes or answers could be looked at.
    const says = `console.log("ops", process.argv[2], "of the ${name} build; stage", JSON.parse(process.env.SST_RESOURCE_App ?? "{}").stage)`;
    const ends = name === "later" ? 'process.exitCode = process.argv[2] === "smoke" ? 1 : 0' : "";
    await writeFile(join(path, "ops/main.ts"), `${says};\n${ends};\n`);
  }
  const { aws, env } = await anAws(Object.values(builds));
  context.after(() => aws.stdin?.end());
  const options = { env: { ...env, SMOKE_TOKEN: "a-token", SST_RIG_RECORD: record } };
  for (const name of Object.values(links)) {
    const set = ["secret", "set", name, secretOf(name), "--stage", "staging"];
    await run(join(project, "node_modules/.bin/sst"), set, { ...options, cwd: builds.earlier });
  }

  /** Releases a build. Returns its exit code, the steps that it took, and the code that function health has then. */
  const release = async (cwd: string, ...more: string[]) => {
    const flags = ["--stage", "staging", "--subaccount", "s", "--agent", "a", ...more];
    const ended = run("node", ["infra/release.ts", ...flags], { ...options, cwd });
    const { code = 0, stdout } = await ended.catch((error) => error);
    const steps: string[] = stdout.split("\n").filter((text: string) => /^(===|::|ops )/.test(text));
    for (const text of steps) context.diagnostic(text.replaceAll(`${folder}/`, ""));
    const { resources } = JSON.parse(await readFile(record, "utf8"));
    const { inputs } = resources.find(({ name }: Json) => name === "ApiRouteHealthHandlerFunction");
    context.diagnostic(`health runs ${inputs.s3Key.slice(-16)}`);
    return { code, steps, s3Key: inputs.s3Key };
  };

  const first = await release(builds.earlier);
  assert.deepEqual([first.code, first.steps.at(-1)], [0, "::notice::staging runs this build"]);
  const alone = await release(builds.later); // nothing takes it back, so its code stays
  assert.notEqual(alone.s3Key, first.s3Key);
  const second = await release(builds.later, "--previous", builds.earlier);
  assert.deepEqual([second.code, second.s3Key], [1, first.s3Key]);
  assert.deepEqual(
    second.steps.filter((text) => !text.startsWith("===")),
    [
      "ops indexes of the later build; stage staging",
      "ops indexes of the later build; stage staging",
      "ops smoke of the later build; stage undefined",
      "ops indexes of the earlier build; stage staging",
      "ops smoke of the earlier build; stage undefined",
      "::error::staging runs the previous build again: this one did not work",
    ],
  );
});

test("the role of the deploying workflow may use every service of which something is deployed", async () => {
  const role = await readFile(join(project, "infra/ci-role.yaml"), "utf8");
  const actions = new Set([...role.matchAll(/"([a-z0-9]+):\*"/g)].map(([, service]) => service));
  const services = { apigatewayv2: "apigateway", cloudwatch: "cloudwatch", logs: "logs" } as Record<string, string>;
  for (const { type } of [...production.resources, ...staging.resources]) {
    const [, service = ""] = /^aws:(\w+)\//.exec(type) ?? [];
    if (service && service !== "index") assert.ok(actions.has(services[service] ?? service), type);
  }
});
