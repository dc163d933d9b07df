import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bundle, buildAll, functions } from "../infra/build.ts";
import type { routes } from "../lib/api/routes.ts";
import { bare, pagesOf } from "./support/pdf.ts";
import { aWorld, central, eventFor } from "./support/world.ts";

const require = createRequire(import.meta.url);

let folder: string;
let bundles: Bundle[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "scalai-build-"));
  bundles = await buildAll(folder);
});
afterAll(() => rm(folder, { recursive: true }));

describe("a bundle's size", () => {
  /** kB. A cold start waits until all of it is loaded, so raise a budget only for a reason. */
  const budgets: Partial<Record<keyof typeof routes | "sweep" | "worker", number>> = {
    list: 790,
    export: 3_200, // with what makes a PDF, most of which is loaded for that alone
    webhook: 810,
    health: 160,
    default: 185, // with the route table
    openapi: 375,
    sweep: 818, // with the queue of jobs
    worker: 920, // with CSV, a checksum whose state can be kept, and requests to S3
  };
  /** The budget of an endpoint that has none of its own. */
  const budget = 874;

  it.each(functions)("%s keeps within its budget", (name) => {
    const { bytes, packages } = bundles.find((bundle) => bundle.name === name) as Bundle;
    expect(bytes).toBeLessThanOrEqual((budgets[name as keyof typeof budgets] ?? budget) * 1_000);
    expect([...packages.values()].reduce((sum, part) => sum + part)).toBe(bytes);
  });
});

describe("what a function loads", () => {
  it.each(functions)("%s is ready without the driver, and without fetch", async (name) => {
    const ready = await atStart(name);
    expect(ready.files).toEqual(["index.cjs"]);
    expect(ready.builtins.filter((builtin) => builtin.includes("undici"))).toEqual([]);
  });

  it("health and default open no connections: they are ready without Node's http", async () => {
    for (const name of ["health", "default"]) {
      const ready = await atStart(name);
      expect(ready.builtins.filter((builtin) => /^(https?|tls)$/.test(builtin))).toEqual([]);
    }
  });

  it.each([
    ["list", 50],
    ["health", 26],
  ])("%s is ready with %i modules of Node at most", async (name, most) => {
    const ready = await atStart(name);
    expect(ready.builtins.length).toBeLessThanOrEqual(most);
  });

  it("a list from the cache is answered without the driver, and without fetch; one from Mongo with it", async () => {
    const { subaccountId, owner } = await aWorld();
    const event = (query = {}) => eventFor("list", { subaccountId, token: owner.token, query });
    const first = await probe("list", [event()]);
    expect(first.moments.at(-1)?.files).toEqual(["index.cjs", "mongo-driver.cjs"]);
    const { answers, moments } = await probe("list", [event(), event()]);
    expect(answers.map(({ body }) => JSON.parse(body).meta.cached)).toEqual([true, true]);
    expect(moments.at(-1)?.files).toEqual(["index.cjs"]);
    expect(moments.at(-1)?.builtins.filter((builtin) => builtin.includes("undici"))).toEqual([]);
  });
});

it("the bundle of export makes a PDF, and loads for it what no other format needs", async () => {
  const { subaccountId, owner, db } = await aWorld();
  const messages = [{ role: "user", content: "Hello, مرحبا, 你好", internal: {} }];
  await db.collection("chats").insertOne({ chat_id: "chat_1", subaccountId, chat_status: "ended", messages });
  const event = (format: string) =>
    eventFor("export", { subaccountId, chatId: "chat_1", token: owner.token, query: { format } });
  const { answers, moments } = await probe("export", [event("txt"), event("pdf")]);
  expect(moments[1]?.files).toEqual(["index.cjs", "mongo-driver.cjs"]);
  const pages = await pagesOf(Buffer.from(answers[1]?.body ?? "", "base64"));
  expect(bare(pages.join(""))).toContain(bare("Hello, مرحبا, 你好"));
});

describe("the driver in the bundle", () => {
  const bundled = (): typeof MongoClient => require(join(folder, "list", "mongo-driver.cjs")).MongoClient;
  const url = new URL(process.env.MONGODB_URL ?? "");

  it.each(["SCRAM-SHA-256", "SCRAM-SHA-1"])("signs in by %s, and not with a wrong password", async (mechanism) => {
    const user = `user-${mechanism}`;
    await central.command({ createUser: user, pwd: "p@ss wörd", roles: ["readWrite"], mechanisms: [mechanism] });
    const ping = async (password: string) => {
      const own = new URL(url);
      own.username = user;
      own.password = password;
      own.searchParams.set("authSource", central.databaseName);
      const client = new (bundled())(own.toString());
      try {
        return await client.db().command({ connectionStatus: 1 });
      } finally {
        await client.close();
      }
    };
    const { authInfo } = await ping("p@ss wörd");
    expect(authInfo.authenticatedUsers).toMatchObject([{ user }]);
    await expect(ping("another")).rejects.toMatchObject({ codeName: "AuthenticationFailed" });
  });

  it("keeps what its own build keeps of an error: the cause", async () => {
    const client = new (bundled())("mongodb://127.0.0.1:1/?directConnection=true", { serverSelectionTimeoutMS: 100 });
    const error = await client.connect().catch((error) => error);
    expect([error.name, error.cause?.name]).toEqual(["MongoServerSelectionError", "MongoNetworkError"]);
  });

  /** Every way to sign in that a tenant's cluster may ask for, as far as it goes without what it asks for. */
  it.each([
    ["MONGODB-X509", "MechanismUnavailable|ProtocolError|AuthenticationFailed|BadValue"],
    ["PLAIN", "MechanismUnavailable|AuthenticationFailed"],
    ["MONGODB-OIDC", "ENOENT|MechanismUnavailable|AuthenticationFailed"],
    ["MONGODB-AWS", "@aws-sdk/credential-providers"],
    ["GSSAPI", "kerberos"],
  ])("knows %s", async (mechanism, refusal) => {
    const own = new URL(url);
    own.searchParams.set("authMechanism", mechanism);
    own.searchParams.set("authSource", "$external");
    if (mechanism === "PLAIN" || mechanism === "GSSAPI") [own.username, own.password] = ["someone", "x"];
    if (mechanism === "MONGODB-OIDC") own.searchParams.set("authMechanismProperties", "ENVIRONMENT:k8s");
    const client = new (bundled())(own.toString(), { serverSelectionTimeoutMS: 2_000 });
    const error = await client.connect().catch((error) => error);
    await client.close();
    expect(`${error.codeName} ${error.code} ${error.message}`).toMatch(new RegExp(refusal));
  });

  it.each([
    "mongodb://localhost",
    "mongodb://a.example:27018,b.example,[::1]:27019/central?replicaSet=rs0",
    "mongodb://us%40er:p%3Aa%2Fss%20w%C3%B6rd@a.example/central?authSource=admin",
    "mongodb+srv://user:pass@cluster.example.net/?retryWrites=false&w=majority",
    "mongodb://%2Ftmp%2Fmongodb-27017.sock/central",
    "mongodb://BÜCHER.example/Central?appName=An%20App&tls=true",
    "mongodb://a.example/?readPreference=secondary&readPreferenceTags=dc:ny,rack:1&readPreferenceTags=",
    "mongodb://user:pass@a.example/?authMechanism=SCRAM-SHA-1&authMechanismProperties=SERVICE_NAME:x",
    "http://a.example",
    "mongodb://",
    "mongodb://us er:p@ss@a.example",
    "mongodb://a.example/?unheardOf=1",
    "mongodb+srv://a.example:27017,b.example",
  ])("reads %s as the driver itself does", (text) => {
    const read = (Client: typeof MongoClient) => {
      try {
        const { hosts, credentials, dbName, srvHost, replicaSet, tls, readPreference, appName } = new Client(text)
          .options;
        const all = {
          hosts: hosts.map(String),
          credentials,
          dbName,
          srvHost,
          replicaSet,
          tls,
          readPreference,
          appName,
        };
        return JSON.parse(JSON.stringify(all));
      } catch (error) {
        return `${(error as Error).name}: ${(error as Error).message}`;
      }
    };
    expect(read(bundled())).toEqual(read(MongoClient));
  });

  it("tells servers its version", async () => {
    const { version } = JSON.parse(await readFile(require.resolve("mongodb/package.json"), "utf8"));
    const appName = crypto.randomUUID();
    const client = new (bundled())(url.toString(), { appName });
    await client.connect();
    const seen = client.db("admin").aggregate([{ $currentOp: { idleConnections: true } }, { $match: { appName } }]);
    expect((await seen.toArray()).at(0)?.clientMetadata.driver).toMatchObject({ name: "nodejs", version });
    await client.close();
  });
});

it("a stack trace in the log names functions as the source does", async () => {
  const event = eventFor("list", { subaccountId: "0".repeat(24), token: "e30.e30.AAAA" });
  const { log } = await probe("list", [event], { MONGODB_URL: "" });
  const { cause } = JSON.parse(log.trim()).reason;
  expect(cause.name).toBe("ConfigError");
  expect(cause.stack.slice(0, 3).map((line: string) => /^at (?:async )?(\S+)/.exec(line)?.[1])).toEqual([
    "parse",
    "config",
    "verifyToken",
  ]);
});

interface Loaded {
  files: string[];
  builtins: string[];
}

interface Probed {
  /** What has been loaded when the function is ready, and after each event. */
  moments: [Loaded, ...Loaded[]];
  answers: { body: string }[];
  /** What it has written to stderr. */
  log: string;
}

/** Runs a function's bundle in a process of its own. */
async function probe(name: string, events: object[] = [], settings: NodeJS.ProcessEnv = {}): Promise<Probed> {
  const args = [join(folder, name, "index.cjs"), ...events.map((event) => JSON.stringify(event))];
  const child = fork(join(import.meta.dirname, "support", "probe.cjs"), args, {
    env: { ...process.env, ...settings },
    execArgv: [],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const log = child.stderr ? text(child.stderr) : "";
  const [told] = await once(child, "message");
  return { ...told, log: await log };
}

const starts = new Map<string, Promise<Loaded>>();

/** What a function has loaded when it is ready for its first event. Each is started once for this. */
function atStart(name: string): Promise<Loaded> {
  const loaded = starts.get(name) ?? probe(name).then(({ moments: [ready] }) => ready);
  starts.set(name, loaded);
  return loaded;
}
