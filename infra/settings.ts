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
import { workers } from "./jobs.ts";
import { schedules } from "./schedules.ts";

export type Environment = Record<string, string | undefined>;

const limited = Object.values<Route>(routes).filter(({ limit }) => limit !== undefined);
const routeLimits = limited.map(({ name }) => routeLimitSetting(name));

/** Every setting of the functions, with its schema. `.env.example` explains them; `sst.config.ts` passes them on. */
export const settings: Record<string, z.ZodType> = {
  ...configSettings,
  ...Object.fromEntries(routeLimits.map((name) => [name, RateLimit.optional()])),
};

const functions = [...Object.keys(routes), ...Object.keys(schedules), ...workers];

/** Settings that only a deployment reads, and stricter schemas of settings that functions read as well. */
const deploymentSettings = {
  // Atlas's connection strings have a placeholder for the password.
  MONGODB_URL: z
    .string()
    .regex(
      /^mongodb(\+srv)?:\/\/(?!.*<\w+>)\S+$/,
      "Must be a mongodb:// or mongodb+srv:// address, without placeholders",
    ),
  UPSTASH_REDIS_REST_URL: z.url({ protocol: /^https?$/, error: "Must be the https:// address of the REST API" }),
  ...minimumTurnTimes, // a deployment has no simulator on its own machine
  AWS_REGION: z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/, "Must be a region, such as eu-central-1"),
  CORS_ORIGINS: z.string().superRefine(acceptedBy(originsOf)),
  CORS_HEADERS: z.string().superRefine(acceptedBy(allowHeadersOf)),
  DOMAIN: z.string().regex(/^([a-z0-9-]+\.)+[a-z]{2,}$/, "Must be a host name, such as api.example.com"),
  ALARM_EMAIL: z.email(),
  PAGE_EMAIL: z.email(),
  CONSOLE: z.literal("1", "Must be 1, or empty"),
  RESERVED_CONCURRENCY: z.string().regex(new RegExp(`^((${functions.join("|")})=\\d+(,(?!$)|$))+$`), {
    message: `Must be pairs such as message=300,sweep=2, of ${functions.join(", ")}`,
  }),
  TRACING: z.literal("active", "Must be active, or empty"),
  // Metrics are lines of level INFO. Lambda drops lines below its level, and then there would be no alarms.
  POWERTOOLS_LOG_LEVEL: z.enum(["DEBUG", "INFO"], "Must be DEBUG or INFO: without INFO there are no metrics"),
};

/** Refuses a text for which `read` throws, with the message of its error. */
function acceptedBy(read: (text: string) => unknown) {
  return (text: string, context: z.RefinementCtx) => {
    try {
      read(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
    }
  };
}

/** The environment of the functions: all settings that are set, without secrets. STAGE is set by functionsOf. */
export function functionEnvironment(environment: Environment): Record<string, string> {
  const names = Object.keys(settings).filter((name) => name !== "STAGE" && !(name in secrets));
  return Object.fromEntries(names.flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])));
}

/** The placeholder of a secret that may be left out; undefined for the others. */
export function placeholderOf(setting: string, environment: Environment): string | undefined {
  const isOptional = setting.endsWith("S_OLD") || (setting === "JWT_SECRET" && environment.JWT_JWKS_URL?.trim());
  return isOptional ? "" : undefined;
}

/** How many instances may run at a time, by function. The others share the account's rest. */
export function reservedConcurrency(environment: Environment): Record<string, number> {
  const pairs = (environment.RESERVED_CONCURRENCY ?? "").split(",").filter((pair) => pair !== "");
  return Object.fromEntries(pairs.map((pair) => pair.split("=")).map(([name, count]) => [name, Number(count)]));
}

/**
 * Why a stage cannot be deployed: one line per problem, without values. Otherwise a function with a malformed setting
 * would fail at its first request.
 *
 * @param environment With the stage's secrets as SST passes them, `SST_SECRET_<Name>`.
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

/**
 * The settings of `.env.<stage>` that would have no effect, since SST prefers another value in `.env`: one line each.
 *
 * @param shared The variables of `.env`; an empty one is none.
 * @param own    Those of `.env.<stage>`.
 */
export function overriddenSettings(shared: Environment, own: Environment, stage: string): string[] {
  return Object.keys(own)
    .filter((name) => shared[name] && shared[name] !== own[name])
    .map((name) => `${name} of .env.${stage} has no effect: .env sets it too, and takes precedence; remove it there`);
}

/** The problems that depend neither on the stage nor on its secrets being known. */
export function malformedSettings(environment: Environment): string[] {
  const schemas: Record<string, z.ZodType> = { ...settings, ...deploymentSettings };
  const unknown = Object.keys(environment).filter(
    (name) => isRouteLimit(name) && environment[name]?.trim() && !(name in settings),
  );
  const invalid = Object.entries(schemas).flatMap(([name, schema]) => {
    const link = name in secrets ? secrets[name as keyof typeof secrets] : undefined;
    const given = environment[link ? `SST_SECRET_${link}` : name];
    const value = name in settings ? given?.trim() : given; // config.ts trims these; the others are used as they are
    const [problem] = value ? (schema.safeParse(value).error?.issues ?? []) : [];
    return problem ? [`${link ? `secret ${link}` : name} is malformed: ${problem.message}`] : [];
  });
  return [
    ...invalid,
    ...unknown.map((name) => `${name} names no endpoint: it must be one of ${routeLimits.join(", ")}`),
  ];
}

/** Settings that a stage lacks, or must not have: one `.env` is used for all stages of a checkout. */
function misplacedSettings(environment: Environment, stage: string): string[] {
  if (stage === "production") {
    const isOpen = (environment.CORS_ORIGINS?.trim() || "*").includes("*");
    return [
      ...(environment.ALARM_EMAIL ? [] : ["ALARM_EMAIL is not set: production's alarms would tell nobody"]),
      ...(isOpen
        ? ["CORS_ORIGINS must name production's origins: without it, or with *, pages of anybody may call"]
        : []),
    ];
  }
  if (stage === "staging") return [];
  return ["DOMAIN", "RESERVED_CONCURRENCY"]
    .filter((name) => environment[name])
    .map((name) => `${name} is for production and staging: put it into .env.production or .env.staging, not .env`);
}
