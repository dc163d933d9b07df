import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { expect, it, vi } from "vitest";
import { settings } from "../infra/settings.ts";
import { secrets } from "../lib/platform/config.ts";

const complete = {
  MONGODB_URL: "mongodb://db.example/scalai",
  UPSTASH_REDIS_REST_URL: "https://redis.example",
  UPSTASH_REDIS_REST_TOKEN: "a-token",
  JWT_SECRET: "a-jwt-secret",
  ENCRYPTION_KEY: "an-encryption-key",
};
const required = Object.keys(complete);

type Found = Record<string, unknown> & { error?: string };

/** What a new instance finds as its configuration: the environment is parsed once. */
async function configOf(environment: Record<string, string>): Promise<Found> {
  if (environment.SST_RESOURCE_App) return ofProcess(environment);
  const before = process.env;
  process.env = environment;
  vi.resetModules();
  try {
    const { config } = await import("../lib/platform/config.ts");
    return { ...config() };
  } catch (error) {
    return { error: String(error) };
  } finally {
    process.env = before;
  }
}

/** The same of a new process: SST reads links once. */
async function ofProcess(environment: Record<string, string>): Promise<Found> {
  const module = JSON.stringify(new URL("../lib/platform/config.ts", import.meta.url));
  const script = `import { config } from ${module};
    try { console.log(JSON.stringify(config())); } catch ({ message: error }) { console.log(JSON.stringify({ error })); }`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
    env: { ...environment, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE },
  });
  return JSON.parse(stdout);
}

/** Secrets as SST hands them to a function, but not encrypted. */
function linked(values: Record<string, string>): Record<string, string> {
  const links = Object.entries(values).map(([name, value]) => [`SST_RESOURCE_${name}`, JSON.stringify({ value })]);
  return { SST_RESOURCE_App: JSON.stringify({ name: "scalai-chat", stage: "ada" }), ...Object.fromEntries(links) };
}

/** The same secrets under the names of their links. */
const links = Object.fromEntries(
  required.map((name) => [secrets[name as keyof typeof secrets], complete[name as "JWT_SECRET"]]),
);

it("without anything, every variable that is required is named at once", async () => {
  const { error = "" } = await configOf({});
  expect(required.filter((name) => !error.includes(name))).toEqual([]);
  expect(error).not.toContain("RATE_LIMIT");
});

it("an empty variable counts as missing", async () => {
  const { error } = await configOf({ ...complete, ENCRYPTION_KEY: "" });
  expect(error).toContain("ENCRYPTION_KEY");
});

it("what is malformed is named, all of it, and its value never shown", async () => {
  const wrong = { UPSTASH_REDIS_REST_URL: "wrong-1", RATE_LIMIT_LIST: "wrong-2", PERMISSION_CACHE_SECONDS: "3601" };
  const { error = "" } = await configOf({ ...complete, ...wrong });
  expect(Object.keys(wrong).filter((name) => !error.includes(name))).toEqual([]);
  expect([...Object.values(wrong), ...Object.values(complete)].filter((value) => error.includes(value))).toEqual([]);
});

it.each([
  ["TURN_SETTLE_SECONDS", "5", "300 s"],
  ["TURN_SETTLE_SECONDS", "329", "300 s"],
  ["TURN_LEASE_SECONDS", "29", "29 s"],
])("%s=%s is refused with the reason, whatever else is set", async (name, value, reason) => {
  const others: Record<string, string>[] = [
    {},
    { RETELL_BASE_URL: "https://retell.example" },
    { RETELL_BASE_URL: "https://127.example" },
    { STAGE: "test", RATE_LIMIT_LIST: "0" },
  ];
  for (const more of others) {
    const { error = "" } = await configOf({ ...complete, ...more, [name]: value });
    expect(error).toContain(`${name} (Must be`);
    expect(error).toContain(reason);
  }
  for (const RETELL_BASE_URL of ["http://127.0.0.1:9", "http://localhost:9/", "http://[::1]:9"]) {
    expect(await configOf({ ...complete, RETELL_BASE_URL, [name]: value })).toMatchObject({ [name]: Number(value) });
  }
});

it("a key set will do in place of JWT_SECRET", async () => {
  const found = await configOf({ ...complete, JWT_SECRET: "", JWT_JWKS_URL: "https://issuer.example/keys" });
  expect(found).toMatchObject({ JWT_JWKS_URL: "https://issuer.example/keys" });
});

it("a deployed function has its secrets from its links, and not in its environment", async () => {
  const found = await configOf({ ...linked({ ...links, EncryptionKeysOld: "older, oldest" }) });
  expect(found).toMatchObject({ STAGE: "ada", ...complete, ENCRYPTION_KEYS_OLD: ["older", "oldest"] });
});

it("a link comes before a variable of the environment", async () => {
  const found = await configOf({ ...linked(links), MONGODB_URL: "mongodb://elsewhere.example/" });
  expect(found).toMatchObject(complete);
});

it("the stage is the one that SST says, whatever STAGE says", async () => {
  const told = [{ ...linked(links), STAGE: "elsewhere" }, { ...complete, STAGE: "elsewhere" }, complete];
  const found: unknown[] = [];
  for (const environment of told) found.push((await configOf(environment)).STAGE);
  expect(found).toEqual(["ada", "elsewhere", "local"]);
});

it("a stage that SST does not name is no other one", async () => {
  const { error } = await configOf({
    ...linked(links),
    SST_RESOURCE_App: '{"name":"scalai-chat"}',
    STAGE: "elsewhere",
  });
  expect(error).toContain("SST_RESOURCE_App names no stage");
});

it("white space around a value is no part of it, be it linked or in the environment", async () => {
  const padded = (values: Record<string, string>) =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, ` ${value}\r\n`]));
  expect(await configOf(linked(padded(links)))).toMatchObject(complete);
  expect(await configOf(padded({ ...complete, STAGE: "ada" }))).toMatchObject({ ...complete, STAGE: "ada" });
  expect((await configOf({ ...complete, ENCRYPTION_KEY: " \n" })).error).toContain("ENCRYPTION_KEY");
});

it("a link that was left empty is a secret that is not set", async () => {
  const withoutJwt = { ...links, JwtSecret: "", EncryptionKeysOld: "" };
  expect((await configOf(linked(withoutJwt))).error).toContain("JWT_SECRET");
  const found = await configOf({ ...linked(withoutJwt), JWT_JWKS_URL: "https://issuer.example/keys" });
  expect(found).not.toHaveProperty("JWT_SECRET");
  expect(found).toMatchObject({ ENCRYPTION_KEYS_OLD: [] });
});

it("a function that is not linked to a secret is told which, not that SST failed", async () => {
  const { error } = await configOf(linked({ ...links, MongodbUrl: "" }));
  expect(error).toMatch(/^Missing or malformed: MONGODB_URL/);
});

const example = await readFile(new URL("../.env.example", import.meta.url), "utf8");
/** Name and comment of each variable: the comment is the line before it. */
const explained = new Map([...example.matchAll(/^# (.+)\n([A-Z_]+)=(.*)$/gm)].map(([, text, name]) => [name, text]));

it(".env.example explains every setting, and sets none", () => {
  expect(Object.keys(settings).filter((name) => !explained.has(name))).toEqual([]);
  expect(example.match(/^[A-Z_]+=.*$/gm)).toEqual([...explained.keys()].map((name) => `${name}=`));
});

it(".env.example says which settings are required, and the true default of the others", async () => {
  const found: Record<string, unknown> = await configOf(complete);
  for (const name of Object.keys(settings)) {
    const text = explained.get(name) ?? "";
    if (required.includes(name)) expect(text, name).toContain("Required");
    else expect(text, name).toContain("Default: ");
    const value = found[name];
    if (!required.includes(name) && (typeof value === "number" || typeof value === "string")) {
      expect(text, name).toMatch(new RegExp(`Default: ${value}\\b`));
    }
  }
});
