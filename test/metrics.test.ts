import "./support/own-retell.ts";
import { ObjectId } from "mongodb";
import { afterEach, describe, expect, it, vi } from "vitest";
import { handler as sweep } from "../functions/sweep.ts";
import { encrypt } from "../lib/platform/crypto.ts";
import { Metrics, metrics } from "../lib/platform/metrics.ts";
import { MetricLine } from "./support/emf.ts";
import { linesOf, metered, metricsOf } from "./support/instance.ts";
import { aChatBy, anInstance, aWire, logOf, owned } from "./support/wire.ts";
import { aWorld, central, control, fault, type Response, type World } from "./support/world.ts";

const wire = await aWire();
const world = await aWorld();
const instance = await anInstance();
afterEach(() => wire.heal());

const where = owned(world);
const create = (headers: Record<string, string> = {}) =>
  instance.call("create", { ...where, body: { agentId: world.agentId }, headers });
const send = (chatId: string, more: object = {}) =>
  instance.call("message", { ...where, chatId, body: { content: "ping" }, ...more });
const update = (collection: "subaccounts" | "retellaccounts", { subaccountId }: World, $set: object) => {
  const _id = new ObjectId(subaccountId);
  const filter = collection === "subaccounts" ? { _id } : { subaccountId: _id };
  return central.collection(collection).updateOne(filter, { $set });
};
const moveTo = async (tenant: World, url: string) =>
  update("subaccounts", tenant, { mongodbUrl: await encrypt(url, tenant.subaccountId) });
const countedBy = ({ body }: Response) => metricsOf(body.meta.operationId)[0];

describe("what a request counts", () => {
  it("is one line, by stage and endpoint, and never by subaccount, user or chat", async () => {
    const { body } = await create();
    const lines = metricsOf(body.meta.operationId);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      Stage: "test",
      Operation: "create",
      ChatsCreated: 1,
      Duration: expect.any(Number),
    });
    const dimensions = metered.flatMap((line) =>
      MetricLine.parse(JSON.parse(line))._aws.CloudWatchMetrics.flatMap(({ Dimensions }) => Dimensions),
    );
    expect(new Set(dimensions.map(String))).toEqual(new Set(["Stage", "Stage,Operation"]));
  });

  it("is a message that Retell got, and no repeat of it", async () => {
    const chatId = await aChatBy(instance, world);
    const headers = { "idempotency-key": crypto.randomUUID() };
    expect(countedBy(await send(chatId, { headers }))).toMatchObject({ MessagesSent: 1 });
    expect(countedBy(await send(chatId, { headers }))).not.toHaveProperty("MessagesSent");
  });

  it("is how long a chat was, in time and messages, and what it cost, each once and when it is known", async () => {
    const chatId = await aChatBy(instance, world);
    await send(chatId);
    const told = [countedBy(await instance.call("end", { ...where, chatId }))];
    told.push(countedBy(await instance.call("end", { ...where, chatId })));
    await control("retell", "POST", "/clock", { advanceMs: 600_000 });
    for (let i = 0; i < 2; i++) {
      await isDue(chatId);
      told.push(await swept());
    }
    const names = ["ChatDuration", "MessagesPerChat", "ChatCost"] as const;
    expect(told.map((line) => names.filter((name) => typeof line?.[name] === "number"))).toEqual([
      ["ChatDuration", "MessagesPerChat"],
      [],
      ["ChatCost"],
      [],
    ]);
    expect(told[0]).toMatchObject({ MessagesPerChat: 3 });
  });

  it("is whether the cache helped", async () => {
    await create(); // forgets the list
    expect(countedBy(await instance.call("list", where))).toMatchObject({ Operation: "list", CacheMisses: 1 });
    expect(countedBy(await instance.call("list", where))).toMatchObject({ Operation: "list", CacheHits: 1 });
  });

  it("is an error by its code, also a webhook's bad signature", async () => {
    expect(countedBy(await instance.call("list"))).toMatchObject({ Code: "ACCESS_TOKEN_REQUIRED", Errors: 1 });
    const { subaccountId } = world;
    expect(countedBy(await instance.call("webhook", { subaccountId, body: {} }))).toMatchObject({
      Operation: "webhook",
      Code: "INVALID_SIGNATURE",
      Errors: 1,
    });
  });

  it("is an answer of 5xx, and not what the caller did wrong", async () => {
    await fault(world, "create", { kind: "status", status: 500 });
    expect(countedBy(await create())).toMatchObject({ Operation: "create", Failures: 1 });
    const wrong = countedBy(await instance.call("create", { ...where, body: {} }));
    expect(wrong).toMatchObject({ Errors: 1 });
    expect(wrong).not.toHaveProperty("Failures");
  });

  it("is a failure of Retell, and not its refusal of what was asked", async () => {
    await fault(world, "create", { kind: "status", status: 500 });
    expect(countedBy(await create())).toMatchObject({ Code: "CHAT_CREATION_FAILED", RetellFailures: 1 });
    await fault(world, "create", { kind: "status", status: 422 });
    expect(countedBy(await create())).not.toHaveProperty("RetellFailures");
  });

  it("is a request whose limits were degraded, once for both of them", async () => {
    await wire.upstash.refuse();
    expect(countedBy(await instance.call("list", where))).toMatchObject({ DegradedLimits: 1 });
  });

  it("is a Mongo that cannot be reached", async () => {
    const chatId = await aChatBy(instance, world);
    await wire.mongo.refuse();
    expect(countedBy(await send(chatId))).toMatchObject({ Code: "CONNECTION_FAILED", MongoFailures: 1 });
  });

  it.each<[string, (tenant: World) => Promise<unknown>]>([
    ["account", (tenant) => fault(tenant, "create", { kind: "status", status: 401, count: 0 })],
    ["account", (tenant) => update("retellaccounts", tenant, { apiKey: 7 })],
    ["limit", (tenant) => fault(tenant, "create", { kind: "status", status: 429, count: 0 })],
    ["key", (tenant) => update("retellaccounts", tenant, { apiKey: "v2.00000000.a.b.c" })],
    ["database", (tenant) => moveTo(tenant, "mongodb://127.0.0.1:9/x")],
    ["database", (tenant) => moveTo(tenant, "no address")],
    ["database", (tenant) => update("subaccounts", tenant, { mongodbUrl: "v2.00000000.a.b.c" })],
    ["database", (tenant) => update("subaccounts", tenant, { databaseName: "has space" })],
  ])("is a failure of one tenant, which is none of the stage: its %s", async (tenantCause, breakIt) => {
    const tenant = await aWorld();
    await breakIt(tenant);
    const create = () => instance.call("create", { ...owned(tenant), body: { agentId: tenant.agentId } });
    const requests = tenantCause === "limit" ? 2 : 1; // after a 429, the open circuit refuses
    for (let i = 0; i < requests; i++) {
      const answer = await create();
      expect(countedBy(answer)).toMatchObject({ TenantFailures: 1, Errors: 1, Code: answer.body.code });
      for (const name of ["Failures", "Duration", "RetellFailures", "MongoFailures"]) {
        expect(countedBy(answer)).not.toHaveProperty(name);
      }
      expect(logOf(answer, "ERROR")).toMatchObject([{ subaccountId: tenant.subaccountId, tenantCause }]);
      expect(JSON.stringify(answer.body)).not.toContain("tenantCause");
    }
  });

  it("is no failure of one tenant where its connection string names the central servers", async () => {
    const tenant = await aWorld();
    await moveTo(tenant, `${process.env.MONGODB_URL}&appName=own`.replace("//", "//user:p%40ss@"));
    expect(countedBy(await instance.call("list", owned(tenant)))).toMatchObject({ MongoFailures: 1, Failures: 1 });
  });

  it("is a Mongo that does not take a create's key, and the time that it took", async () => {
    await create();
    wire.mongo.treat = (what) => (what === "findAndModify chatrequests" ? "hang" : "pass");
    const answer = await create({ "idempotency-key": crypto.randomUUID() });
    expect(countedBy(answer)).toMatchObject({ Code: "CONNECTION_FAILED", MongoFailures: 1 });
    expect(linesOf(answer.body.meta.operationId).at(-1)?.mongo).toBeGreaterThan(2_000);
  });
});

it("a sweep that cannot reach Mongo counts that, and no run", async () => {
  const before = metered.length;
  await wire.mongo.refuse();
  await expect(sweep()).rejects.toThrow("The sweep failed");
  const [line] = metered.slice(before).map((text) => JSON.parse(text));
  expect(line).toMatchObject({ Operation: "sweep", MongoFailures: 1 });
  expect(line).not.toHaveProperty("Sweeps");
});

describe("a turn of unknown outcome", () => {
  it("is counted when it is answered, told by its age while it is open, and as sent when it is settled", async () => {
    const chatId = await aChatBy(instance, world);
    await fault(world, "completion", { kind: "late", ms: 60_000 });
    const lost = await send(chatId, { remainingMs: 5_300 });
    expect(countedBy(lost)).toMatchObject({ UnknownTurns: 1 });
    expect(countedBy(lost)).not.toHaveProperty("MessagesSent");

    const chats = world.db.collection("chats");
    const due = { "internal.nextSweepAt": new Date(Date.now() - 1) };
    await chats.updateOne(
      { chat_id: chatId },
      { $set: { ...due, "internal.turn.at": new Date(Date.now() - 200_000) } },
    );
    expect(await swept()).toMatchObject({ Operation: "sweep", Sweeps: 1, OldestOpenTurn: expect.closeTo(200, -1) });

    await control("retell", "POST", "/clock", { advanceMs: 60_000 });
    await isDue(chatId);
    expect(await swept()).toMatchObject({ Sweeps: 1, OldestOpenTurn: 0, MessagesSent: 1 });
  });
});

describe("subaccounts that cannot work", () => {
  const minuteMs = 60_000;
  afterEach(() => {
    vi.useRealTimers();
  });
  const later = (minutes: number) => vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + minutes * minuteMs });

  /** The only tenants of the stage. */
  async function aStageOf(count: number): Promise<World[]> {
    await Promise.all(["subaccounts", "chatsweeps"].map((name) => central.collection(name).deleteMany({})));
    return Promise.all([...Array(count)].map(() => aWorld()));
  }

  it.each<[string, (tenant: World) => Promise<unknown>, object]>([
    ["account", (tenant) => fault(tenant, "list", { kind: "status", status: 401 }), {}],
    ["key", (tenant) => update("retellaccounts", tenant, { apiKey: "v2.00000000.a.b.c" }), { apiKey: "sealed" }],
    ["key", (tenant) => update("retellaccounts", tenant, { webhookKeys: ["v2.00000000.a.b.c"] }), { webhookKeys: [] }],
    ["database", (tenant) => moveTo(tenant, "no address"), { mongodbUrl: "" }],
  ])(
    "are counted by each run of the sweep until they are repaired, if nobody uses them, too: %s",
    async (cause, breakIt, repair) => {
      const [tenant, other] = (await aStageOf(2)) as [World, World];
      await breakIt(tenant);
      const failing = { SubaccountsFailing: 1, SubaccountsSwept: 2 };
      const first = await swept();
      expect(first).toMatchObject(failing);
      expect(first).not.toHaveProperty("SweepFailures");
      const warnings = linesOf(first.operationId).filter(({ tenantCause }) => tenantCause === cause);
      expect(warnings).toMatchObject([{ level: "WARN", subaccountId: tenant.subaccountId }]);
      expect(await swept()).toMatchObject(failing);

      if ("mongodbUrl" in repair) await update("subaccounts", tenant, repair);
      const apiKey = await encrypt(tenant.apiKey, tenant.subaccountId);
      if (cause === "key") await update("retellaccounts", tenant, { ...repair, apiKey });
      later(11);
      expect(await swept()).toMatchObject({ SubaccountsFailing: 0, SubaccountsSwept: 2 });
      expect(await swept()).toMatchObject({ SubaccountsFailing: 0 });
      expect(linesOf(first.operationId).filter(({ subaccountId }) => subaccountId === other.subaccountId)).toEqual([]);
    },
  );

  it.each([{ isActive: false }, { maintenanceMode: true }])("are none that are not meant to: %j", async (state) => {
    const [tenant] = (await aStageOf(1)) as [World];
    await moveTo(tenant, "no address");
    await update("subaccounts", tenant, state);
    expect(await swept()).toMatchObject({ SubaccountsFailing: 0, SubaccountsSwept: 1 });
  });

  it("are counted as failures of the sweep where the cause is not their own", async () => {
    const [tenant] = (await aStageOf(1)) as [World];
    await fault(tenant, "list", { kind: "status", status: 500 });
    expect(await swept()).toMatchObject({ SubaccountsFailing: 1, SweepFailures: 1 });
    expect(await swept()).toMatchObject({ SubaccountsFailing: 0 });
  });

  it("cost a run nothing where all are well: three commands for an idle subaccount", async () => {
    const commands = async (count: number) => {
      await aStageOf(count);
      await swept();
      const calls = await wire.callsTo("mongo", swept);
      return calls.filter((what) => what !== "hello");
    };
    const [few, more] = [await commands(2), await commands(5)];
    expect(more.slice().sort().join()).toBe(
      [...few, ...["find chats", "find chatsweeps", "find jobs"].flatMap((find) => [find, find, find])].sort().join(),
    );
  });
});

/** As if its time had come for the sweep. */
async function isDue(chatId: string, more: object = {}) {
  const due = { "internal.nextSweepAt": new Date(Date.now() - 1), ...more };
  await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: due });
}

/** What a run of the sweep has counted. */
async function swept() {
  const before = metered.length;
  await sweep();
  const lines = metered.slice(before).map((line) => JSON.parse(line));
  expect(lines).toHaveLength(1);
  return lines[0];
}

describe("a line of metrics", () => {
  it("holds what CloudWatch takes: no more than a hundred values of a name, each with its unit", () => {
    const written: string[] = [];
    const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => written.push(String(text)) > 0);
    const own = new Metrics();
    for (let i = 1; i <= 205; i++) own.put("ChatCost", i);
    own.add("Errors", 2);
    own.flush({ operationId: crypto.randomUUID(), requestId: undefined, Operation: "sweep", Code: "TIMEOUT" });
    own.flush({ operationId: crypto.randomUUID(), requestId: undefined, Operation: "sweep", Code: "TIMEOUT" });
    write.mockRestore();

    const lines = written.map((text) => MetricLine.parse(JSON.parse(text)));
    expect(lines.flatMap(({ ChatCost }) => ChatCost)).toEqual([...Array(205)].map((_, i) => i + 1));
    expect(lines.map(({ Errors }) => Errors)).toEqual([2, undefined, undefined]);
    expect(lines[0]?._aws.CloudWatchMetrics).toEqual([
      {
        Namespace: "ScalAIChat",
        Dimensions: [["Stage"]],
        Metrics: [{ Name: "ChatCost", Unit: metrics.ChatCost.unit }],
      },
      { Namespace: "ScalAIChat", Dimensions: [["Stage", "Code"]], Metrics: [{ Name: "Errors", Unit: "Count" }] },
    ]);
  });
});
