import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ObjectId } from "mongodb";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { encrypt } from "../lib/platform/crypto.ts";
import { ensureIndexes, missingIndexes } from "../lib/platform/indexes.ts";
import { clock } from "../ops/doctor/finding.ts";
import { errorName } from "../ops/failure.ts";
import { tool } from "./support/tool.ts";
import { aWorld, central, type World } from "./support/world.ts";

beforeEach(async () => {
  await Promise.all([
    central.collection("subaccounts").deleteMany({}),
    central.collection("retellaccounts").deleteMany({}),
  ]);
  await ensureIndexes(central, "central");
});

const servers: ReturnType<typeof createServer>[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});

/** A Retell that answers everything alike. */
const aRetell = (status: number, headers = {}) => aServer(status, '{"items":[]}', headers);

async function aServer(status: number, body: string, headers: Record<string, string> = {}): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(status, headers).end(body));
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function healthy(): Promise<World> {
  const world = await aWorld();
  await ensureIndexes(world.db, "tenant");
  return world;
}

const lines = (stdout: string, mark: string) => stdout.split("\n").filter((line) => line.startsWith(mark));
/** What is wrong, as `what: detail`, and how it is to be mended. */
async function wrongs(env: NodeJS.ProcessEnv = {}, args: string[] = []) {
  const { code, stdout, stderr } = await tool("doctor", args, env);
  expect(stderr).toMatch(/^Stage test[^\n]*\n$/);
  expect(code).toBe(1);
  const wrong = lines(stdout, "WRONG").map((line) => line.replace(/^WRONG +/, "").replace(/ {2,}/, ": "));
  expect(stdout.trimEnd().split("\n").at(-1)).toMatch(new RegExp(` ${wrong.length} wrong$`));
  return { wrong, stdout };
}

describe("npm run ops -- doctor", () => {
  it("finds everything well where it is", async () => {
    const { subaccountId } = await healthy();
    const { code, stdout, stderr } = await tool("doctor");
    expect([lines(stdout, "WRONG"), stderr.split("\n").length, code]).toEqual([[], 2, 0]);
    for (const what of [
      "settings",
      "MongoDB",
      "replica set",
      "clock of MongoDB",
      "indexes of central",
      "Redis",
      "clock of Retell",
    ]) {
      expect(stdout).toMatch(new RegExp(`^ok +${what}`, "m"));
    }
    expect(stdout).toMatch(new RegExp(`^ok +indexes of ${subaccountId}`, "m"));
    expect(stdout).toMatch(new RegExp(`^ok +Retell key of ${subaccountId}`, "m"));
  });

  it("names all settings that are wrong at once, and no value", async () => {
    const { wrong, stdout } = await wrongs({
      MONGODB_URL: "",
      UPSTASH_REDIS_REST_URL: "hidden",
      ENCRYPTION_KEY: "",
      LEGACY_KEYS: "hidden",
      CORS_ORIGINS: "https://hidden.example/app",
    });
    expect(wrong.map((line) => line.split(":").slice(0, line.startsWith("for") ? 2 : 1))).toEqual([
      ["MONGODB_URL"],
      ["UPSTASH_REDIS_REST_URL"],
      ["ENCRYPTION_KEY"],
      ["LEGACY_KEYS"],
      ["for deploying", " CORS_ORIGINS is malformed"],
    ]);
    expect(stdout).toContain("secret EncryptionKey");
    expect(stdout).not.toContain("hidden");
    expect(stdout).toContain(".env.example");
  });

  it("looks at what is set for deploying, too, and goes on", async () => {
    await healthy();
    const JWT_SECRETS_OLD = `short,${"x".repeat(32)}`;
    const { wrong } = await wrongs({ RESERVED_CONCURRENCY: "massage=3", JWT_SECRET: "short", JWT_SECRETS_OLD });
    expect(wrong).toEqual([
      expect.stringMatching(/^for deploying: RESERVED_CONCURRENCY is malformed: /),
      "JWT_SECRET: shorter than 32 bytes",
      "JWT_SECRETS_OLD: shorter than 32 bytes",
    ]);
  });

  it("says what undermines a promise, and which origin can never match", async () => {
    await healthy();
    const { wrong } = await wrongs({ CORS_ORIGINS: "https://a.example/app", TURN_SETTLE_SECONDS: "5" });
    expect(wrong).toEqual([
      expect.stringMatching(/^for deploying: TURN_SETTLE_SECONDS is malformed: Must be 330 at least: /),
      expect.stringMatching(/^for deploying: CORS_ORIGINS is malformed: Entry 1 can never match: it has a path/),
    ]);
    const real = await wrongs({ RETELL_BASE_URL: "https://retell.example", TURN_LEASE_SECONDS: "20" });
    expect(real.wrong).toEqual([expect.stringMatching(/^TURN_LEASE_SECONDS: Must be 30 at least: /)]);
  });

  it("says that MongoDB, Redis or Retell cannot be reached, and goes on with the others", async () => {
    const { wrong, stdout } = await wrongs({
      MONGODB_URL: "mongodb://user:password@127.0.0.1:9/x",
      UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9",
      RETELL_BASE_URL: "http://127.0.0.1:9",
    });
    expect(wrong.map((line) => line.split(":")[0])).toEqual(["MongoDB", "Redis", "Retell"]);
    expect(stdout).toContain("MongoDB: MONGODB_URL");
    expect(stdout).not.toContain("password@");
  });

  it.each([
    ["user:wrong@", "", "MongoServerError 18 AuthenticationFailed", "user and password"],
    ["", "?compressors=snappy", "MODULE_NOT_FOUND", "its compressors or its authMechanism need snappy"],
    ["user:x@", "?authMechanism=GSSAPI", "MODULE_NOT_FOUND", "its compressors or its authMechanism need kerberos"],
    ["user:x@", "?authMechanism=PLAIN", "MongoServerError 334 MechanismUnavailable", "its authMechanism"],
    ["", "?nonsense=1", "MongoParseError", "not a valid connection string"],
    ["", "?tls=true&tlsCAFile=/nowhere", "ENOENT", "tlsCAFile"],
  ])("names what is wrong with a subaccount's connection string (%s%s)", async (user, options, detail, advice) => {
    const { host } = new URL(process.env.MONGODB_URL ?? "");
    const { subaccountId } = await healthy();
    const mongodbUrl = await encrypt(`mongodb://${user}${host}/x${options}`, subaccountId);
    const _id = new ObjectId(subaccountId);
    await central.collection("subaccounts").updateOne({ _id }, { $set: { mongodbUrl } });
    const { wrong, stdout } = await wrongs();
    expect(wrong).toEqual([expect.stringContaining(`database of ${subaccountId}: `)]);
    expect(wrong[0]).toContain(detail);
    expect(stdout).toMatch(new RegExp(`its mongodbUrl: .*${advice}`));
    expect(stdout).not.toContain("wrong@");
  });

  it("says that Redis does not take the token", async () => {
    await healthy();
    const { wrong, stdout } = await wrongs({ UPSTASH_REDIS_REST_TOKEN: "another" });
    expect(wrong).toEqual(["Redis: answered 401"]);
    expect(stdout).toContain("read-only token");
  });

  it("names the indexes that are missing, and what makes them", async () => {
    const world = await healthy();
    await world.db.collection("chats").dropIndex("subaccountId_1_chat_id_1");
    await central.collection("retellaccounts").dropIndexes();
    const { wrong, stdout } = await wrongs();
    expect(wrong).toEqual([
      "indexes of central: retellaccounts.subaccountId_1 missing",
      `indexes of ${world.subaccountId}: chats.subaccountId_1_chat_id_1 missing`,
    ]);
    expect(stdout).toContain("npm run ops -- indexes");
  });

  it("tells a key that Retell refuses from one that does not decrypt, and from none", async () => {
    const [undecipherable, missing, refused] = [await healthy(), await healthy(), await healthy()];
    await central
      .collection("retellaccounts")
      .updateOne({ subaccountId: new ObjectId(undecipherable.subaccountId) }, { $set: { apiKey: "v2.a.b.c.d" } });
    await central.collection("retellaccounts").deleteOne({ subaccountId: new ObjectId(missing.subaccountId) });
    const { wrong } = await wrongs({ RETELL_BASE_URL: await aRetell(401) });
    expect(wrong).toEqual([
      `Retell key of ${undecipherable.subaccountId}: API_KEY_DECRYPTION_ERROR`,
      `Retell key of ${missing.subaccountId}: RETELL_ACCOUNT_INACTIVE`,
      `Retell key of ${refused.subaccountId}: Retell answers 401`,
    ]);
  });

  it("says which subaccount does not say where its data is", async () => {
    const [unreadable, misnamed] = [await healthy(), await healthy()];
    for (const [{ subaccountId }, databaseName] of [
      [unreadable, 42],
      [misnamed, "has space"],
    ] as const) {
      const _id = new ObjectId(subaccountId);
      await central.collection("subaccounts").updateOne({ _id }, { $set: { databaseName } });
    }
    const { wrong, stdout } = await wrongs({ RETELL_BASE_URL: await aRetell(200) });
    expect(wrong).toEqual([
      `database of ${unreadable.subaccountId}: its databaseName is not text`,
      expect.stringMatching(`^(database|indexes|writes) of ${misnamed.subaccountId}: MongoServerError 73`),
    ]);
    expect(stdout).toContain("or the subaccount's databaseName: no database may have this name");
  });

  it("counts what the old server encrypted, and says when LEGACY_KEYS=refuse may be set", async () => {
    const { subaccountId } = await healthy();
    const line = async (LEGACY_KEYS: string) => {
      const { stdout } = await tool("doctor", [], { LEGACY_KEYS });
      return /^(ok|WRONG) +old server's secrets +(.*)$/m.exec(stdout)?.slice(1);
    };
    expect(await line("")).toEqual(["ok", expect.stringContaining("none: set LEGACY_KEYS=refuse")]);
    expect(await line("refuse")).toEqual(["ok", "none"]);

    await central
      .collection("retellaccounts")
      .updateOne({ subaccountId: new ObjectId(subaccountId) }, { $set: { apiKey: "00ff", webhookKeys: null } });
    await central
      .collection("subaccounts")
      .insertMany([{ mongodbUrl: "00aa" }, { mongodbUrl: null }, { mongodbUrl: "" }]);
    expect(await line("read")).toEqual(["ok", expect.stringMatching(/^2, .*keys rotate/)]);
    expect(await line("refuse")).toEqual(["WRONG", "2 are not read"]);
  });

  it("names webhook keys that do not decrypt", async () => {
    const { subaccountId } = await healthy();
    const withKeys = (webhookKeys: string[]) =>
      central
        .collection("retellaccounts")
        .updateOne({ subaccountId: new ObjectId(subaccountId) }, { $set: { webhookKeys } });
    await withKeys([await encrypt("a key", subaccountId)]);
    expect((await tool("doctor")).stdout).toMatch(new RegExp(`^ok +webhook keys of ${subaccountId} +1$`, "m"));
    await withKeys([await encrypt("a key", subaccountId), await encrypt("another's", "5ca1ab1e00000000000000ff")]);
    const { wrong } = await wrongs();
    expect(wrong).toEqual([`webhook keys of ${subaccountId}: 1 of 2 do not decrypt`]);
  });

  it("says that a secret is short, and that a key set is none or nowhere", async () => {
    await healthy();
    const keys = JSON.stringify({ keys: [{ kty: "OKP" }] });
    const [good, odd, gone] = [await aServer(200, keys), await aServer(200, "<html>"), await aServer(404, "")];
    expect((await tool("doctor", [], { JWT_JWKS_URL: good })).stdout).toMatch(/^ok +JWT_JWKS_URL +1 keys$/m);
    const away = await aServer(200, keys);
    servers.at(-1)?.close();
    const moved = await aServer(301, "", { location: good }); // jose follows no redirect
    for (const [JWT_JWKS_URL, detail] of [
      [moved, "answers 301"],
      [odd, "answers no key set"],
      [gone, "answers 404"],
      [away, "ECONNREFUSED"],
    ]) {
      const { wrong } = await wrongs({ JWT_JWKS_URL, JWT_SECRET: "short" });
      expect(wrong).toEqual(["JWT_SECRET: shorter than 32 bytes", `JWT_JWKS_URL: ${detail}`]);
    }
  });

  it("says that a clock is off", async () => {
    await healthy();
    const date = new Date(Date.now() - 3_600_000).toUTCString();
    const { wrong } = await wrongs({ RETELL_BASE_URL: await aRetell(200, { date }) });
    expect(wrong).toEqual([expect.stringMatching(/^clock of Retell: 3\d{3}\.\d s behind of this machine's$/)]);
  });

  it("looks at one subaccount alone, and says that there is none", async () => {
    const [one, other] = [await healthy(), await healthy()];
    await other.db.collection("chats").dropIndexes();
    const { code, stdout } = await tool("doctor", ["--subaccount", one.subaccountId.toUpperCase()]);
    expect(code).toBe(0);
    expect(stdout).not.toContain(other.subaccountId);
    const { wrong } = await wrongs({}, ["--subaccount", "5ca1ab1e00000000000000ff"]);
    expect(wrong).toEqual(["subaccount: 5ca1ab1e00000000000000ff does not exist"]);
  });

  it("lists of many subaccounts those with a fault, and each fix once; all with --all and --json", async () => {
    const { insertedIds } = await central
      .collection("subaccounts")
      .insertMany(
        Array.from({ length: 11 }, (_, i) => ({ databaseName: i < 9 ? `many_${i % 2}` : 42, isActive: true })),
      );
    const ids = Object.values(insertedIds).map(String);
    await central.collection("retellaccounts").insertMany(
      await Promise.all(
        ids.map(async (subaccountId) => ({
          subaccountId: new ObjectId(subaccountId),
          apiKey: await encrypt(`key_${subaccountId}`, subaccountId),
          accountName: "Test Retell",
          isActive: true,
        })),
      ),
    );
    for (const name of ["many_0", "many_1"]) await ensureIndexes(central.client.db(name), "tenant");

    const { wrong, stdout } = await wrongs();
    expect(wrong).toEqual([...ids.slice(9).map((id) => `database of ${id}: its databaseName is not text`)]);
    expect(stdout).toMatch(/^ +subaccounts +9 of 11 without a fault$/m);
    expect(stdout).not.toContain(ids[0]);
    expect(stdout.match(/until it is, requests get CONNECTION_FAILED/g)).toHaveLength(1);

    const all = await tool("doctor", ["--all"]);
    for (const id of ids) expect(all.stdout).toContain(id);
    const { ofSubaccounts, wrong: count } = JSON.parse((await tool("doctor", ["--json"])).stdout);
    expect([ofSubaccounts.map(({ subaccountId }: { subaccountId: string }) => subaccountId), count]).toEqual([ids, 2]);
  });

  it("says that there is no subaccount, as in a database of the wrong name", async () => {
    const { wrong, stdout } = await wrongs();
    expect(wrong).toEqual([`subaccounts: there is none, or none is active, in ${central.databaseName}`]);
    expect(stdout).toContain("subaccounts: does MONGODB_URL name the right database?");
  });

  it("says that a subaccount's cluster does not answer, and no word of its address", async () => {
    const world = await healthy();
    const mongodbUrl = await encrypt("mongodb://user:password@127.0.0.1:9/x", world.subaccountId);
    await central
      .collection("subaccounts")
      .updateOne({ _id: new ObjectId(world.subaccountId) }, { $set: { mongodbUrl } });
    const { wrong, stdout } = await wrongs();
    expect(wrong).toEqual([expect.stringContaining(`database of ${world.subaccountId}`)]);
    expect(stdout).not.toContain("password@");
  });
});

describe("npm run ops -- indexes", () => {
  it.each([
    [
      "mongodb://user:password@127.0.0.1:9/x",
      "MongoDB cannot be reached (ECONNREFUSED): npm run ops -- doctor says more",
    ],
    ["no address", "MongoDB cannot be reached (MongoParseError): npm run ops -- doctor says more"],
    ["", expect.stringMatching(/^Missing or malformed: MONGODB_URL /)],
  ])("says why it cannot begin: %s", async (MONGODB_URL, why) => {
    const { code, stdout, stderr } = await tool("indexes", ["--yes"], { MONGODB_URL });
    const said = stderr.split("\n").filter((line) => !line.startsWith("Stage "));
    expect([code, stdout, ...said]).toEqual([1, "", why, ""]);
  });
});

it("npm run ops -- indexes goes on past a tenant that cannot be reached, and may count it as no failure", async () => {
  const down = new ObjectId();
  const mongodbUrl = await encrypt("mongodb://127.0.0.1:9/x?serverSelectionTimeoutMS=100", down.toHexString());
  await central.collection("subaccounts").insertMany([{ _id: down, mongodbUrl }, { databaseName: "t_up" }]);
  const strict = await tool("indexes", ["--yes"]);
  const lenient = await tool("indexes", ["--yes", "--skip-unreachable"]);
  expect([strict.code, strict.stdout]).toEqual([1, expect.stringMatching(/, 1 databases failed\n$/)]);
  expect([lenient.code, lenient.stdout]).toEqual([0, expect.stringMatching(/, 0 databases failed, 1 not reached\n$/)]);
  expect(strict.stdout).toMatch(/^created {3}t_up\.chats\.subaccountId_1_chat_id_1 {2}in \d+\.\d s$/m);
  expect(lenient.stdout).toMatch(/^there {5}t_up\.chats\.subaccountId_1_chat_id_1$/m);
  for (const { stderr } of [strict, lenient]) expect(stderr).toContain(`subaccount ${down}: MongoDB cannot be reached`);
});

describe("what it finds", () => {
  it("is a clock within five seconds, either way", () => {
    expect([-5_000, 0, 5_000].map((off) => clock("x", 1e12 + off, 1e12).isOk)).toEqual([true, true, true]);
    expect([-5_001, 5_001, Number.NaN].map((off) => clock("x", 1e12 + off, 1e12).isOk)).toEqual([false, false, false]);
  });

  it("is of an error the name and code of what lies deepest", () => {
    const deepest = Object.assign(new Error("mongodb://user:password@host"), { name: "MongoNetworkError", code: 18 });
    expect(errorName(new Error("outer", { cause: new Error("inner", { cause: deepest }) }))).toBe(
      "MongoNetworkError 18",
    );
    expect(errorName("thrown")).toBe("failed");
  });

  it("is no index that exists, be it named otherwise; one that should be unique must be", async () => {
    const { db } = await aWorld();
    await ensureIndexes(db, "tenant");
    expect(await missingIndexes(db, "tenant")).toEqual([]);
    await db.collection("chats").dropIndex("subaccountId_1_chat_id_1");
    await db.collection("chats").createIndex({ subaccountId: 1, chat_id: 1 }, { name: "another" });
    expect(await missingIndexes(db, "tenant")).toEqual(["chats.subaccountId_1_chat_id_1"]);
    await db.collection("chats").dropIndex("another");
    await db.collection("chats").createIndex({ subaccountId: 1, chat_id: 1 }, { name: "another", unique: true });
    expect(await missingIndexes(db, "tenant")).toEqual([]);
  });
});
