import "./support/own-retell.ts";
import { afterEach, describe, expect, it, vi } from "vitest";
import { handler as sweep } from "../functions/sweep.ts";
import { Metrics, metrics } from "../lib/platform/metrics.ts";
import { MetricLine } from "./support/emf.ts";
import { linesOf, metered, metricsOf } from "./support/instance.ts";
import { aChatBy, anInstance, aWire, owned } from "./support/wire.ts";
import { aWorld, control, fault, type Response } from "./support/world.ts";

const wire = await aWire();
const world = await aWorld();
const instance = await anInstance();
afterEach(() => wire.heal());

const where = owned(world);
const create = (headers: Record<string, string> = {}) =>
  instance.call("create", { ...where, body: { agentId: world.agentId }, headers });
const send = (chatId: string, more: object = {}) =>
  instance.call("message", { ...where, chatId, body: { content: "ping" }, ...more });
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
