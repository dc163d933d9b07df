import { Resource } from "sst/resource";
import * as z from "zod";
import { stage } from "./stage.ts";

/** Secrets, with the names of their SST links. In AWS they are linked; elsewhere they come from the environment. */
export const secrets = {
  MONGODB_URL: "MongodbUrl",
  UPSTASH_REDIS_REST_URL: "UpstashRedisRestUrl",
  UPSTASH_REDIS_REST_TOKEN: "UpstashRedisRestToken",
  JWT_SECRET: "JwtSecret",
  JWT_SECRETS_OLD: "JwtSecretsOld",
  ENCRYPTION_KEY: "EncryptionKey",
  ENCRYPTION_KEYS_OLD: "EncryptionKeysOld",
} as const;

const Text = z.string().min(1);
const List = z.string().transform((text) =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== ""),
);
/** Requests per minute. */
export const RateLimit = z.coerce.number().int().min(1);
const Seconds = z.coerce.number().int().min(1);

/**
 * The shortest times that the protocol of turns allows. With shorter ones, a message could be sent twice, or be marked
 * failed although the agent got it.
 */
export const minimumTurnTimes = {
  TURN_LEASE_SECONDS: Seconds.min(30, "Must be 30 at least: a function that holds the chat may run for 29 s"),
  TURN_SETTLE_SECONDS: Seconds.min(330, "Must be 330 at least: Retell may take up a message for 300 s"),
};

/** Retell on this machine is the simulator, with which tests use shorter times. */
const isSimulated = (url: unknown) =>
  URL.canParse(String(url)) && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(new URL(String(url)).hostname);

/** Refuses a setting below its minimum, with the reason. */
function respectsMinimum(name: keyof typeof minimumTurnTimes) {
  const { error } = minimumTurnTimes[name].safeParse(1);
  const isKept = (config: Record<string, unknown>) => {
    const value = config[name];
    return (
      !Number.isInteger(value) || isSimulated(config.RETELL_BASE_URL) || minimumTurnTimes[name].safeParse(value).success
    );
  };
  const path: PropertyKey[] = [name];
  return [isKept, { path, message: error?.issues[0]?.message ?? "", when: () => true }] as const;
}

/**
 * Each setting's schema, by the name of its variable. The endpoints' own limits are apart: their names follow from the
 * route table, which infra/settings.ts adds.
 */
export const settings = {
  STAGE: Text.default("local"),
  MONGODB_URL: Text,
  UPSTASH_REDIS_REST_URL: z.url({ protocol: /^https?$/ }),
  UPSTASH_REDIS_REST_TOKEN: Text,
  RETELL_BASE_URL: z.url({ protocol: /^https?$/ }).default("https://api.retellai.com"),
  JWT_SECRET: Text.optional(),
  JWT_SECRETS_OLD: List.default([]),
  JWT_JWKS_URL: z.url({ protocol: /^https?$/ }).optional(),
  JWT_ISSUER: Text.optional(),
  JWT_AUDIENCE: Text.optional(),
  JWT_ADMIN_ISSUERS: List.default([]),
  ENCRYPTION_KEY: Text,
  ENCRYPTION_KEYS_OLD: List.default([]),
  LEGACY_KEYS: z.enum(["read", "refuse"]).default("read"),
  RATE_LIMIT_USER: RateLimit.default(300),
  PERMISSION_CACHE_SECONDS: Seconds.max(60).default(60),
  TURN_LEASE_SECONDS: Seconds.default(40),
  TURN_SETTLE_SECONDS: Seconds.default(330),
  // Read by stage.ts, for functions without secrets. Here it is checked, and passed on when deploying.
  DOCS_URL: z
    .url({ protocol: /^https?$/ })
    .regex(/^[^#]+$/, "Must have no fragment")
    .optional(),
};

/** What a deployment, or `npm start`, tells the functions of itself. Nobody sets these by hand. */
const outputs = {
  /** The SQS queue of background jobs. Absent: they run in this process, if at all. */
  JOBS_QUEUE_URL: z.url({ protocol: /^https?$/ }).optional(),
  /** Where files are kept: a bucket of S3, or a folder of this machine that is served at an address. */
  FILES_BUCKET: Text.optional(),
  FILES_FOLDER: Text.optional(),
  FILES_URL: z.url({ protocol: /^https?$/ }).optional(),
};

/** The variable that overrides an endpoint's own limit. */
export const routeLimitSetting = (endpoint: string) => `RATE_LIMIT_${endpoint.toUpperCase().replaceAll("-", "_")}`;

/** Whether a variable may override an endpoint's limit. Deploying refuses names without an endpoint (infra/settings.ts). */
export const isRouteLimit = (name: string) => name.startsWith("RATE_LIMIT_") && name !== "RATE_LIMIT_USER";

const Config = z
  .object({ ...settings, ...outputs, ROUTE_LIMITS: z.record(z.string(), RateLimit) })
  .refine((config) => config.JWT_SECRET !== undefined || config.JWT_JWKS_URL !== undefined, {
    path: ["JWT_SECRET"],
    message: "JWT_SECRET or JWT_JWKS_URL must be set",
    when: () => true, // else zod skips it when another setting is wrong, and not all problems are named at once
  })
  .refine(...respectsMinimum("TURN_LEASE_SECONDS"))
  .refine(...respectsMinimum("TURN_SETTLE_SECONDS"));

export type Config = z.infer<typeof Config>;

/** What Lambda tells a function of AWS: the role's credentials change while an instance lives, so they are not kept. */
export function awsEnvironment() {
  const {
    AWS_ACCESS_KEY_ID = "",
    AWS_SECRET_ACCESS_KEY = "",
    AWS_SESSION_TOKEN,
    AWS_REGION = "us-east-1",
  } = process.env;
  const { AWS_ENDPOINT_URL_S3 } = process.env; // another S3 than AWS's, for tests
  return { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL_S3 };
}

/** What is wrong with a setting, without its value. */
export interface Problem {
  setting: string;
  message: string;
}

let parsed: Config | undefined;

/**
 * The environment, parsed once, on first use.
 *
 * @throws An Error that names every variable that is missing or malformed, without values. It has them in `problems`.
 */
export function config(): Config {
  parsed ??= parse();
  return parsed;
}

function parse(): Config {
  const input: Record<string, unknown> = {};
  for (const name of Object.keys({ ...settings, ...outputs })) input[name] = read(name);
  const routeLimits = Object.keys(process.env).filter((name) => isRouteLimit(name) && read(name));
  input.ROUTE_LIMITS = Object.fromEntries(routeLimits.map((name) => [name, read(name)]));

  const result = Config.safeParse(input);
  if (result.success) return result.data;
  const problems: Problem[] = result.error.issues.map(({ path, message }) => ({
    setting: String(path.at(-1)),
    message,
  }));
  const all = problems.map(({ setting, message }) => `${setting} (${message})`).join(", ");
  throw Object.assign(new Error(`Missing or malformed: ${all}`), { name: "ConfigError", problems });
}

/**
 * A link has precedence over a variable, so that `sst shell` works on its stage whatever `.env` contains. An empty value
 * counts as unset: `.env` files and CI systems write unset variables so, and optional secrets are linked empty.
 *
 * White space around a value is removed: a secret that was piped into `sst secret set` ends in a newline.
 */
function read(name: string): string | undefined {
  if (name === "STAGE") return stage();
  return linked(name)?.trim() || process.env[name]?.trim() || undefined;
}

function linked(name: string): string | undefined {
  if (process.env.SST_RESOURCE_App === undefined || !(name in secrets)) return undefined;
  const link = secrets[name as keyof typeof secrets];
  // Absent where the function is not linked to the secret.
  return link in Resource ? Resource[link].value : undefined;
}
