import { defaultTimeoutSeconds, type Route, routeKey } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { secrets } from "../lib/platform/config.ts";
import { type Use, uses, workerSeconds, workers } from "./jobs.ts";
import { schedules } from "./schedules.ts";
import { type Environment, functionEnvironment, reservedConcurrency } from "./settings.ts";

/** One function of a stage. `sst.config.ts` deploys it, `npm run ops -- resources` prints it. */
export interface DeployedFunction {
  /** The name of its file in functions/. */
  name: string;
  /** What invokes it: a route of the gateway, a schedule, or the queue of background jobs. */
  on: { route: string } | { schedule: `rate(${string})` } | { queue: "jobs" };
  memory: `${number} MB`;
  timeoutSeconds: number;
  /** How many instances may run at a time; undefined: as many as the account allows. */
  reserved: number | undefined;
  /** Its permissions besides writing its log. */
  permissions: { actions: string[]; resources: string[] }[];
  /** What it may do with the queue and the files. Deploying adds the permissions, and the names of both. */
  uses: Use[];
  /** The SST secrets that it is linked to. SST encrypts links, but not the environment. */
  secrets: string[];
  environment: Record<string, string>;
}

/** Every function of a stage. Only those that serve a subaccount get secrets, and settings besides DOCS_URL. */
export function functionsOf(stage: string, environment: Environment): DeployedFunction[] {
  const permissions =
    environment.TRACING === "active"
      ? // X-Ray has no resources to which they could be limited.
        [{ actions: ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], resources: ["*"] }]
      : [];
  const common = (name: string) => ({
    name,
    reserved: reservedConcurrency(environment)[name],
    permissions,
    uses: uses[name] ?? [],
  });
  const { DOCS_URL } = environment;
  const standalone = { secrets: [], environment: { STAGE: stage, ...(DOCS_URL ? { DOCS_URL } : {}) } };
  const connected = {
    secrets: Object.values(secrets),
    environment: { STAGE: stage, ...functionEnvironment(environment) },
  };

  return [
    ...Object.values<Route>(routes).map((route) => ({
      ...common(route.name),
      on: { route: routeKey(route) },
      memory: route.memory,
      timeoutSeconds: route.timeoutSeconds ?? defaultTimeoutSeconds,
      ...(route.params ? connected : standalone),
    })),
    ...Object.entries(schedules).map(([name, schedule]) => ({
      ...common(name),
      on: { schedule },
      memory: "1024 MB" as const,
      timeoutSeconds: 120,
      ...connected,
    })),
    ...workers.map((name) => ({
      ...common(name),
      on: { queue: "jobs" as const },
      memory: "1024 MB" as const,
      timeoutSeconds: workerSeconds,
      ...connected,
    })),
  ];
}
