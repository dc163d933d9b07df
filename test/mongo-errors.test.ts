import { MongoClient, ObjectId } from "mongodb";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { startMongod } from "../dev/mongod.ts";
import { sweep } from "../lib/chat/sweep/sweep.ts";
import { encrypt } from "../lib/platform/crypto.ts";
import { RequestLog } from "../lib/platform/logger.ts";
import { atRetell, heard } from "./support/chats.ts";
import { linesOf, logged, metricsOf } from "./support/instance.ts";
import { aTenantOn } from "./support/tenant-on.ts";
import { aChatBy, anInstance, type Instance, owned, verdict } from "./support/wire.ts";
import { aChat, aWorld, call, central, type Response } from "./support/world.ts";

// A fail point is the whole server's: other files have theirs.
const mongod = await startMongod({ args: ["--setParameter", "enableTestCommands=1"] });
const client = new MongoClient(mongod.url);
afterAll(async () => {
  await client.close();
  await mongod.stop();
});
const world = await aTenantOn(client, mongod.url);
const chatId = await aChat(world);
const admin = client.db("admin");
/** The next commands of these kinds on a world's chats fail so. */
async function failNext(failCommands: string[], how: object, { where = world, times = 1 } = {}): Promise<void> {
  const data = { failCommands, namespace: `${where.db.databaseName}.chats`, ...how };
  await admin.command({ configureFailPoint: "failCommand", mode: { times }, data });
}
afterEach(() => admin.command({ configureFailPoint: "failCommand", mode: "off" }));

/** What the log says of why a request failed. */
const reasonOf = ({ body }: Response) =>
  linesOf(body.meta.operationId).findLast(({ level }) => level === "ERROR")?.reason;
const codesOf = ({ body }: Response) => metricsOf(body.meta.operationId).map(({ Code }) => Code);

describe("an error of MongoDB's", () => {
  it.each([
    [1, "InternalError"],
    [6, "HostUnreachable"],
    [7, "HostNotFound"],
    [8, "UnknownError"],
    [13, "Unauthorized"],
    [18, "AuthenticationFailed"],
    [43, "CursorNotFound"],
    [50, "MaxTimeMSExpired"],
    [89, "NetworkTimeout"],
    [112, "WriteConflict"],
    [133, "FailedToSatisfyReadPreference"],
    [148, "ReadConcernMajorityNotEnabled"],
    [262, "ExceededTimeLimit"],
    [8000, "Location8000"],
    [9001, "SocketException"],
  ])(
    "%i %s is no bug of ours: 503 CONNECTION_FAILED, nothing is sent, and the log names it",
    async (errorCode, name) => {
      const commands = ["find", "findAndModify", "aggregate"];
      for (const [endpoint, body] of [["message", { content: "ping" }], ["list"], ["transcript"], ["end"]] as const) {
        await failNext(commands, { errorCode });
        const answer = await call(endpoint, { ...owned(world), chatId, body });
        expect([endpoint, ...verdict(answer)]).toEqual([endpoint, 503, "CONNECTION_FAILED"]);
        expect(codesOf(answer)).toEqual(["CONNECTION_FAILED"]);
        expect(reasonOf(answer)).toMatchObject({ cause: { code: errorCode, codeName: name } });
      }
      expect(await heard(chatId)).toEqual([]);
    },
  );

  it.each([2, 9, 14, 28, 40, 52, 56, 57, 121, 10_334, 40_415])(
    "that says that a request was wrong (%i) is a bug of ours: 500",
    async (errorCode) => {
      await failNext(["findAndModify"], { errorCode }, { times: 2 }); // after a TypeMismatch (14) it is tried again
      const answer = await call("message", { ...owned(world), chatId, body: { content: "ping" } });
      expect(verdict(answer)).toEqual([500, "INTERNAL_ERROR"]);
      await failNext(["find"], { errorCode });
      expect(verdict(await call("list", owned(world)))).toEqual([503, "CHAT_LIST_FAILED"]);
    },
  );

  it("that comes with a write which was done is no acknowledgement", async () => {
    for (const code of [64, 79, 100]) {
      await failNext(["findAndModify"], { writeConcernError: { code, errmsg: "no majority" } });
      const answer = await call("message", { ...owned(world), chatId, body: { content: "ping" } });
      expect([code, ...verdict(answer)]).toEqual([code, 503, "CONNECTION_FAILED"]);
    }
    await failNext(["insert"], { writeConcernError: { code: 64, errmsg: "no majority" } });
    const created = await call("create", { ...owned(world), body: { agentId: world.agentId } });
    expect(verdict(created)).toEqual([503, "CONNECTION_FAILED"]);
    expect(await heard(chatId)).toEqual([]);
  });
});

describe("while another node becomes the primary", async () => {
  // A client of the whole set would wait for the next heartbeat: nothing has changed in the set's state.
  const where = await aTenantOn(client, mongod.url.replace(/\?.*/, "?directConnection=true"));
  let instance: Instance;
  beforeEach(async () => {
    instance = await anInstance(); // one that has met no error yet
  });
  afterEach(() => instance.close());
  const codes = [
    ["not the primary", 10107],
    ["stepping down", 11602],
    ["shutting down", 11600],
  ] as const;

  it.each(codes)("a list is 503 CONNECTION_FAILED (%s), and the next one is answered", async (_name, errorCode) => {
    const page = { ...owned(where), query: { limit: String((errorCode % 50) + 1) } }; // not one that is cached
    await failNext(["find"], { errorCode }, { where });
    expect(verdict(await instance.call("list", page))).toEqual([503, "CONNECTION_FAILED"]);
    expect(verdict(await instance.call("list", page))).toEqual([200, undefined]);
  });

  it.each(codes)(
    "a message that is not begun is 503, is not sent, and its key is free (%s)",
    async (_name, errorCode) => {
      const chatId = await aChatBy(instance, where);
      const headers = { "idempotency-key": crypto.randomUUID() };
      const request = { ...owned(where), chatId, body: { content: "ping" }, headers };
      await failNext(["findAndModify"], { errorCode }, { where });
      expect(verdict(await instance.call("message", request))).toEqual([503, "CONNECTION_FAILED"]);
      expect(await heard(chatId)).toEqual([]);
      expect(verdict(await instance.call("message", request))).toEqual([200, undefined]);
      expect(await heard(chatId)).toHaveLength(1);
    },
  );
});

describe("a subaccount whose connection string is wrong:", () => {
  const { host } = new URL(process.env.MONGODB_URL ?? "");
  it.each([
    ["a password", `mongodb://user:wrong@${host}/x`, { code: 18, codeName: "AuthenticationFailed" }],
    [
      "a compressor without its package",
      `mongodb://${host}/x?compressors=snappy`,
      { name: "MongoMissingDependencyError" },
    ],
    [
      "a mechanism without its package",
      `mongodb://user:x@${host}/x?authMechanism=GSSAPI`,
      { name: "MongoMissingDependencyError" },
    ],
    ["a mechanism that the server lacks", `mongodb://user:x@${host}/x?authMechanism=PLAIN`, { code: 334 }],
    ["credentials from elsewhere", `mongodb://${host}/x?authMechanism=MONGODB-AWS`, { name: "MongoAWSError" }],
    ["a file that is not there", `mongodb://${host}/x?tls=true&tlsCAFile=/nowhere`, { code: "ENOENT" }],
    ["an option that there is not", `mongodb://${host}/x?nonsense=1`, { name: "MongoParseError" }],
    ["an option twice", `mongodb://${host}/x?w=1&w=2`, { name: "MongoInvalidArgumentError" }],
    ["a load balancer that is none", `mongodb://${host}/x?loadBalanced=true`, { name: "MongoCompatibilityError" }],
    ["a set of another name", `mongodb://${host}/x?replicaSet=other`, { name: "MongoServerSelectionError" }],
    ["no such host", "mongodb+srv://nowhere.invalid/x", { code: "ENOTFOUND" }],
  ])("%s", async (_what, url, cause) => {
    const world = await aWorld();
    const mongodbUrl = await encrypt(url, world.subaccountId);
    const _id = new ObjectId(world.subaccountId);
    await central.collection("subaccounts").updateOne({ _id }, { $set: { mongodbUrl } });
    const request = { ...owned(world), chatId: `chat_${world.subaccountId}` };
    const asked = [
      ["create", { agentId: world.agentId }],
      ["message", { content: "ping" }],
      ["list"],
      ["transcript"],
      ["end"],
    ] as const;
    // At once: each may have to wait until the driver gives up.
    const answers = asked.map(async ([endpoint, body]) => {
      const answer = await call(endpoint, { ...request, body });
      expect([endpoint, ...verdict(answer)]).toEqual([endpoint, 503, "CONNECTION_FAILED"]);
      expect(reasonOf(answer)).toMatchObject({ cause });
    });
    await Promise.all(answers);
    expect(await atRetell(world)).toEqual([]);
    expect(logged.join("\n")).not.toContain("wrong@");
  });

  it("the sweep leaves it alone, and goes on with the others", async () => {
    const world = await aWorld();
    const mongodbUrl = await encrypt(`mongodb://user:wrong@${host}/x`, world.subaccountId);
    const _id = new ObjectId(world.subaccountId);
    await central.collection("subaccounts").updateOne({ _id }, { $set: { mongodbUrl } });
    const operationId = crypto.randomUUID();
    const log = new RequestLog({ operationId, requestId: undefined, operation: "sweep" });
    await sweep({ until: Date.now() + 20_000, perSubaccount: 10 }, log);
    const told = linesOf(operationId).filter(({ subaccountId }) => subaccountId === world.subaccountId);
    expect(told).toMatchObject([{ level: "WARN", reason: { code: "CONNECTION_FAILED", cause: { code: 18 } } }]);
  });
});
