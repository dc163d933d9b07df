/// <reference path="./.sst/platform/config.d.ts" />

export default $config({
  app({ stage }) {
    const isProduction = stage === "production";
    return {
      name: "scalai-chat",
      version: "4.17.1", // as in package.json: SST builds no function that imports another version of it
      home: "aws",
      providers: { aws: { region: process.env.AWS_REGION || "us-east-1" } },
      removal: isProduction ? "retain" : "remove",
      protect: isProduction,
    };
  },

  async run() {
    // In two parts, so that tsc does not follow them: these files import one another by their full names, which the
    // compiler options of SST's own types refuse. esbuild joins the parts and bundles the files.
    const { cors, originsOf, allowHeadersOf }: Cors = await import("./lib/api/" + "cors.ts");
    const { secrets }: { secrets: Record<string, string> } = await import("./lib/platform/" + "config.ts");
    const { functionsOf }: Functions = await import("./infra/" + "functions.ts");
    const { overriddenSettings, placeholderOf, problemsOf }: Settings = await import("./infra/" + "settings.ts");
    const { readEnvFile }: { readEnvFile: (path: string) => Environment } = await import("./infra/" + "env-file.ts");

    // Read here too: SST's own reading accepts any bytes, and drops what another file overrides.
    const shared = readEnvFile(`${$cli.paths.root}/.env`);
    const own = readEnvFile(`${$cli.paths.root}/.env.${$app.stage}`);
    const problems = [...overriddenSettings(shared, own, $app.stage), ...problemsOf(process.env, $app.stage)];
    if (problems.length > 0) throw new Error(["This stage cannot be deployed:", ...problems].join("\n  "));

    // The deploying workflow bundles in a job of its own, which may not take on the role in AWS.
    if (!$dev && process.env.PREBUILT !== "true") await build();

    const isProduction = $app.stage === "production";
    const retention = isProduction ? "3 months" : "1 week";
    const level = process.env.POWERTOOLS_LOG_LEVEL || "INFO";
    const domain = process.env.DOMAIN || undefined;
    const isTraced = process.env.TRACING === "active";

    /** What all functions have in common. */
    const common = {
      runtime: "nodejs24.x",
      architecture: "arm64",
      logging: { format: "json", retention },
      transform: {
        function: (args) => {
          if (isTraced) args.tracingConfig = { mode: "Active" };
          // Lambda drops what is below this level, and tells Powertools by AWS_LAMBDA_LOG_LEVEL.
          args.loggingConfig = $resolve([args.loggingConfig]).apply(([config]) => ({
            logFormat: "JSON",
            ...config,
            applicationLogLevel: level,
          }));
        },
        logGroup: (_args, options) => {
          options.retainOnDelete = isProduction;
        },
      },
    } satisfies Partial<sst.aws.FunctionArgs>;

    const links = Object.entries(secrets).map(
      ([setting, name]) => [name, new sst.Secret(name, placeholderOf(setting, process.env))] as const,
    );

    const { consoleSite } = await import("./infra/site");
    const site = process.env.CONSOLE && !$dev ? await consoleSite(domain) : undefined;
    const origins = originsOf(process.env.CORS_ORIGINS);

    const api = new sst.aws.ApiGatewayV2("Api", {
      domain,
      cors: {
        allowOrigins: site && !origins.includes("*") ? [...origins, site.url] : origins,
        allowMethods: cors.allowMethods,
        allowHeaders: allowHeadersOf(process.env.CORS_HEADERS),
        exposeHeaders: cors.exposeHeaders,
        maxAge: `${cors.maxAgeSeconds} seconds`,
      },
      accessLog: { retention },
      transform: {
        api: { disableExecuteApiEndpoint: domain !== undefined }, // the default address would bypass what protects the domain
        stage: (args) => {
          // Per route, over all callers. Both must be set: AWS takes one that is missing for 0.
          args.defaultRouteSettings = { throttlingRateLimit: 500, throttlingBurstLimit: 1_000 };
          args.accessLogSettings = $resolve([args.accessLogSettings]).apply(([settings]) => ({
            destinationArn: settings?.destinationArn ?? "",
            format: accessLogFormat,
          }));
        },
        logGroup: (_args, options) => {
          options.retainOnDelete = isProduction;
        },
      },
    });

    const { background } = await import("./infra/background");
    const jobs = await background(site && !origins.includes("*") ? [...origins, site.url] : origins);

    const functions = functionsOf($app.stage, process.env).map((row) => {
      const { name, on, memory, timeoutSeconds, reserved } = row;
      const used = jobs.use(row.uses);
      const handler = {
        ...common,
        ...code(name),
        memory,
        timeout: `${timeoutSeconds} seconds` as const,
        permissions: [...row.permissions, ...used.permissions],
        environment: { ...row.environment, ...used.environment },
        link: links.filter(([secret]) => row.secrets.includes(secret)).map(([, secret]) => secret),
        ...(reserved === undefined ? {} : { concurrency: { reserved } }),
      };
      // Named after the row: a name that SST makes of the path would change with it, and function and log with the name.
      const transform = { integration: { timeoutMilliseconds: 30_000 } };
      if ("queue" in on) return [name, jobs.subscribe(handler).nodes.function] as const;
      const { nodes } =
        "route" in on
          ? api.route(on.route, handler, { name, transform })
          : new sst.aws.CronV2(name, { schedule: on.schedule, function: handler });
      return [name, nodes.function] as const;
    });

    const logs = functions.map(
      ([name, { nodes }]) => [`${name}Log`, nodes.logGroup.apply((group) => group?.name ?? $util.output(""))] as const,
    );

    site?.configure(api.url);
    const { monitoring } = await import("./infra/monitoring");
    await monitoring({
      api,
      jobs,
      logs: logs.map(([, group]) => group),
      isWatched: isProduction || $app.stage === "staging",
      emails: alarmEmails(isProduction ? process.env : {}), // staging only shows its alarms
    });
    return {
      url: api.url,
      ...(site ? { console: site.url } : {}),
      accessLog: api.nodes.logGroup.name,
      ...Object.fromEntries(logs),
    };
  },
});

/** Who is told of alarms: those that page go to PAGE_EMAIL if there is one. */
function alarmEmails({ ALARM_EMAIL, PAGE_EMAIL }: Environment) {
  return { page: PAGE_EMAIL || ALARM_EMAIL || undefined, look: ALARM_EMAIL || undefined };
}

/** Bundles all functions as `npm run build` does: SST passes on too few of esbuild's options to do it by itself. */
async function build(): Promise<void> {
  const { execFileSync } = await import("node:child_process");
  const { delimiter } = await import("node:path");
  const env = { ...process.env, PATH: [`${$cli.paths.root}/node_modules/.bin`, process.env.PATH].join(delimiter) };
  execFileSync("node", ["infra/build.ts", "--quiet"], { cwd: $cli.paths.root, env, stdio: "inherit" });
}

/** Where a function's code is: bundled, each in a folder of its own, or in `sst dev` its source. */
function code(name: string): { handler: string; bundle?: string } {
  return $dev ? { handler: `functions/${name}.handler` } : { bundle: `dist/${name}`, handler: "index.handler" };
}

/** One JSON object a line. Without quotes only what is always a number: elsewhere the gateway may write a `-`. */
const accessLogFormat = `{${[
  '"path":"$context.path"', // first, because the caller chooses it, and nothing that follows
  '"time":"$context.requestTime"',
  '"requestId":"$context.requestId"',
  '"method":"$context.httpMethod"',
  '"route":"$context.routeKey"',
  '"status":$context.status',
  '"duration":$context.responseLatency',
  '"bytes":$context.responseLength',
  '"error":"$context.error.responseType"',
  '"functionStatus":"$context.integration.status"',
  '"functionDuration":"$context.integration.latency"',
  '"functionRequestId":"$context.integration.requestId"',
  '"ip":"$context.identity.sourceIp"',
].join(",")}}`;

/** What it uses of infra/functions.ts. */
interface Functions {
  functionsOf(
    stage: string,
    environment: Environment,
  ): {
    name: string;
    on: { route: string } | { schedule: `rate(${string})` } | { queue: "jobs" };
    memory: `${number} MB`;
    timeoutSeconds: number;
    reserved: number | undefined;
    permissions: { actions: string[]; resources: string[] }[];
    uses: ("send jobs" | "read files" | "write files" | "delete files")[];
    secrets: string[];
    environment: Record<string, string>;
  }[];
}

/** What it uses of lib/api/cors.ts. */
interface Cors {
  cors: { allowMethods: ("GET" | "POST" | "PUT" | "DELETE")[]; exposeHeaders: string[]; maxAgeSeconds: number };
  originsOf(text: string | undefined): string[];
  allowHeadersOf(text: string | undefined): string[];
}

/** What it uses of infra/settings.ts. */
interface Settings {
  overriddenSettings(shared: Environment, own: Environment, stage: string): string[];
  placeholderOf(setting: string, environment: Environment): string | undefined;
  problemsOf(environment: Environment, stage: string): string[];
}

type Environment = Record<string, string | undefined>;
