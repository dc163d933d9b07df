import * as z from "zod";
import { allowHeadersOf, originsOf } from "../lib/api/cors.ts";
import type { Route } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import {
  settings as configSettings,
  isRouteLimit,
  minimumTurnTimes,
  RateLimit,
  routeLimitSetting,
  secrets,
} from "../lib/platform/config.ts";
import { schedules } from "./schedules.ts";

export type Environment = Record<string, string | undefined>;

const limited = Object.values<Route>(routes).filter(({ limit }) => limit !== undefined);
const routeLimits = limited.map(({ name }) => routeLimitSetting(name));

/** Every setting of the functions, with its schema. `.env.example` explains them; `sst.config.ts` passes them on. */
export const settings: Record<string, z.ZodType> = {
  ...configSettings,
  ...Object.fromEntries(routeLimits.map((name) => [name, RateLimit.optional()])),
};

const functions = [...Object.keys(routes), ...Object.keys(schedules)];

/** What is set for a deployment, and no function reads; or what a deployment asks more of than a function would. */
const Deploying = {
  // As it is copied from Atlas it has a placeholder for the password.
  MONGODB_URL: z
    .string()
    .regex(
      /^mongodb(\+srv)?:\/\/(?!.*<\w+>)\S+$/,
      "Must be a mongodb:// or mongodb+srv:// address, without placeholders",
    ),
  UPSTASH_REDIS_REST_URL: z.url({ protocol: /^https?$/, error: "Must be the https:// address of the REST API" }),
  ...minimumTurnTimes, // a deployment never talks to a simulator on its own machine
  AWS_REGION: z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/, "Must be a region, such as eu-central-1"),
  CORS_ORIGINS: z.string().superRefine(acceptedBy(originsOf)),
  CORS_HEADERS: z.string().superRefine(acceptedBy(allowHeadersOf)),
  DOMAIN: z.string().regex(/^([a-z0-9-]+\.)+[a-z]{2,}$/, "Must be a host name, such as api.example.com"),
  ALARM_EMAIL: z.email(),
  RESERVED_CONCURRENCY: z.string().regex(new RegExp(`^((${functions.join("|")})=\\d+(,(?!$)|$))+$`), {
    message: `Must be pairs such as message=300,sweep=2, of ${functions.join(", ")}`,
  }),
  TRACING: z.literal("active", "Must be active, or empty"),
  // Metrics are lines of level INFO, and Lambda drops what is below its level: the alarms would never hear of anything.
  POWERTOOLS_LOG_LEVEL: z.enum(["DEBUG", "INFO"], "Must be DEBUG or INFO: without INFO there are no metrics"),
};

/** Refuses what a reader throws for, in its words. */
function acceptedBy(read: (text: string) => unknown) {
  return (text: string, context: z.RefinementCtx) => {
    try {
      read(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
    }
  };
}

/** What is passed on to the functions: the settings that are set and no secrets. STAGE is SST's to say. */
export function functionEnvironment(environment: Environment): Record<string, string> {
  const names = Object.keys(settings).filter((name) => name !== "STAGE" && !(name in secrets));
  return Object.fromEntries(names.flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])));
}

/** Of a secret that may be left out, by its setting. Of the others there is none. */
export function placeholderOf(setting: string, environment: Environment): string | undefined {
  const isOptional =
    setting === "ENCRYPTION_KEYS_OLD" || (setting === "JWT_SECRET" && environment.JWT_JWKS_URL?.trim());
  return isOptional ? "" : undefined;
}

/** How many of a function may run at a time, by its name; all others share what the account has left. */
export function reservedConcurrency(environment: Environment): Record<string, number> {
  const pairs = (environment.RESERVED_CONCURRENCY ?? "").split(",").filter((pair) => pair !== "");
  return Object.fromEntries(pairs.map((pair) => pair.split("=")).map(([name, count]) => [name, Number(count)]));
}

/**
 * All that keeps a stage from being deployed, a line each, and never a value: a function whose setting is malformed
 * would fail at its first request.
 *
 * @param environment With the stage's secrets as SST hands them on, `SST_SECRET_<Name>`.
 */
export function problemsOf(environment: Environment, stage: string): string[] {
  const missing = Object.entries(secrets)
    .filter(
      ([setting, name]) =>
        !environment[`SST_SECRET_${name}`]?.trim() && placeholderOf(setting, environment) === undefined,
    )
    .map(([, name]) => `secret ${name} is not set: npx sst secret set ${name} --stage ${stage}`);
  return [...missing, ...malformedSettings(environment), ...misplacedSettings(environment, stage)];
}

/** Those of `problemsOf` that are so whatever the stage, and whether or not its secrets are known. */
export function malformedSettings(environment: Environment): string[] {
  const schemas: Record<string, z.ZodType> = { ...settings, ...Deploying };
  const unknown = Object.keys(environment).filter(
    (name) => isRouteLimit(name) && environment[name]?.trim() && !(name in settings),
  );
  const invalid = Object.entries(schemas).flatMap(([name, schema]) => {
    const link = name in secrets ? secrets[name as keyof typeof secrets] : undefined;
    const given = environment[link ? `SST_SECRET_${link}` : name];
    const value = name in settings ? given?.trim() : given; // as lib/platform/config.ts reads it; the rest is used as it stands
    const [problem] = value ? (schema.safeParse(value).error?.issues ?? []) : [];
    return problem ? [`${link ? `secret ${link}` : name} is malformed: ${problem.message}`] : [];
  });
  return [
    ...invalid,
    ...unknown.map((name) => `${name} names no endpoint: it must be one of ${routeLimits.join(", ")}`),
  ];
}

/** What one stage must have, or others must not: one `.env` serves all stages of a checkout. */
function misplacedSettings(environment: Environment, stage: string): string[] {
  if (stage === "production")
    return environment.ALARM_EMAIL ? [] : ["ALARM_EMAIL is not set: production's alarms would tell nobody"];
  if (stage === "staging") return [];
  return ["DOMAIN", "RESERVED_CONCURRENCY"]
    .filter((name) => environment[name])
    .map((name) => `${name} is for production and staging: put it into .env.production or .env.staging, not .env`);
}
