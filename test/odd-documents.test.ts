import { Binary, Decimal128, Long } from "mongodb";
import { describe, expect, it } from "vitest";
import * as cache from "../lib/chat/cache.ts";
import { reservedKey } from "../lib/retell/client.ts";
import { aChat, aWorld, call, control, fault, type World } from "./support/world.ts";

const at = ({ owner, subaccountId }: World) => ({ token: owner.token, subaccountId });

describe("a list with an odd document in it", () => {
  it.each<[string, object]>([
    ["no messages", { createdAt: new Date(7) }],
    ["no createdAt", { messages: [] }],
    ["neither", {}],
  ])("is shown whole: %s", async (_what, odd) => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await world.db.collection("chats").insertOne({
      chat_id: "chat_odd",
      agent_id: world.agentId,
      subaccountId: world.subaccountId,
      chat_status: "ended",
      start_timestamp: 7,
      end_timestamp: 8,
      ...odd,
    });
    const { status, body } = await call("list", at(world));
    expect([status, body.code]).toEqual([200, undefined]);
    expect(body.data.map((chat: { chat_id: string }) => chat.chat_id)).toEqual([chatId, "chat_odd"]);
    expect(body.data[1]).toMatchObject({ createdAt: "1970-01-01T00:00:00.007Z", message_count: 0 });
  });
});

describe("a field that a list cannot show", () => {
  const shown = {
    chat_id: "chat_odd",
    agent_id: "agent_shop",
    chat_status: "ended",
    start_timestamp: 7,
    end_timestamp: 8,
    message_count: 0,
    createdAt: "1970-01-01T00:00:00.007Z",
  };
  const unknown = { start_timestamp: null, createdAt: null };
  it.each<[what: string, stored: object, expected: object]>([
    ["a start that is null", { start_timestamp: null }, unknown],
    ["a start that is absent", { start_timestamp: undefined }, unknown],
    ["a start that is text", { start_timestamp: "yesterday" }, unknown],
    ["a start that is NaN", { start_timestamp: Number.NaN }, unknown],
    ["a start that never was", { start_timestamp: Number.NEGATIVE_INFINITY }, unknown],
    ["a start that is an object", { start_timestamp: { $gt: 1 } }, unknown],
    ["a start that is true", { start_timestamp: true }, unknown],
    [
      "no start, but createdAt",
      { start_timestamp: null, createdAt: new Date(9) },
      { start_timestamp: null, createdAt: "1970-01-01T00:00:00.009Z" },
    ],
    ["a start that is a Date", { start_timestamp: new Date(7) }, {}],
    ["a start that is a Decimal128", { start_timestamp: Decimal128.fromString("7") }, {}],
    ["a start that is a fraction", { start_timestamp: 7.5 }, { start_timestamp: 7.5 }],
    ["a start in ns", { start_timestamp: 1.7e18 }, { start_timestamp: 1.7e18, createdAt: null }],
    [
      "a start in ns, as Long",
      { start_timestamp: Long.fromString("1700000000000000001") },
      { start_timestamp: 1.7e18, createdAt: null },
    ],
    ["a createdAt that is text", { createdAt: "2026-01-01" }, {}],
    ["an id that is a number", { chat_id: 7 }, { chat_id: null }],
    ["no id", { chat_id: undefined }, { chat_id: null }],
    ["an agent that is null", { agent_id: null }, { agent_id: null }],
    ["no agent", { agent_id: undefined }, { agent_id: null }],
    ["a status that there is not", { chat_status: "completed" }, { chat_status: null }],
    ["a status that is a list", { chat_status: ["ended"] }, { chat_status: null }],
    ["an end that is text", { end_timestamp: "8" }, { end_timestamp: null }],
    ["an end that is absent", { end_timestamp: undefined }, { end_timestamp: null }],
    ["an end that is a Date", { end_timestamp: new Date(8) }, {}],
    ["a count that is text", { message_count: "3", internal: { retellUserCount: 1 } }, { message_count: null }],
    ["a count that is a fraction", { message_count: 1.5, internal: { retellUserCount: 1 } }, { message_count: null }],
    ["no count", { internal: { retellUserCount: 1 } }, { message_count: null }],
    ["messages that are an object", { messages: { role: "user" } }, {}],
    ["messages that are none", { messages: [null, "x", 7, { role: 7 }, { role: "user" }] }, { message_count: 1 }],
    ["internals that are text", { internal: "x", message_count: 3 }, {}],
  ])("is null, or what can be read of it: %s", async (_what, stored, expected) => {
    const world = await aWorld();
    const all = {
      ...shown,
      createdAt: undefined,
      message_count: undefined,
      subaccountId: world.subaccountId,
      ...stored,
    };
    const document = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
    await world.db.collection("chats").insertOne(document);
    const { status, body } = await call("list", at(world));
    expect([status, body.data]).toEqual([200, [{ ...shown, ...expected }]]);
  });
});

describe("a field that a transcript cannot show", () => {
  const nothing = { agent_id: null, chat_status: null, start_timestamp: null, end_timestamp: null };
  const empty = {
    transcript: "",
    messages: [],
    message_count: 0,
    metadata: {},
    retell_llm_dynamic_variables: {},
    collected_dynamic_variables: {},
    chat_cost: null,
    chat_analysis: null,
  };
  it.each<[what: string, value: unknown]>([
    ["absent", undefined],
    ["null", null],
    ["true", true],
    ["a list", []],
    ["a list of one", [1]],
    ["a Binary", new Binary(Buffer.from("x"))],
    ["NaN", Number.NaN],
  ])("is null, or empty: %s", async (_what, value) => {
    const world = await aWorld();
    const names = Object.keys({ ...nothing, ...empty });
    const fields = value === undefined ? {} : Object.fromEntries(names.map((name) => [name, value]));
    await world.db.collection("chats").insertOne({ ...fields, chat_id: "chat_odd", subaccountId: world.subaccountId });
    for (const cached of [false, true]) {
      const { status, body } = await call("transcript", { ...at(world), chatId: "chat_odd" });
      expect([status, body.data, body.meta.cached]).toEqual([
        200,
        { chat_id: "chat_odd", ...nothing, ...empty },
        cached,
      ]);
    }
  });

  it("keeps what can be shown: a Date, a Long, an object", async () => {
    const world = await aWorld();
    await world.db.collection("chats").insertOne({
      chat_id: "chat_odd",
      subaccountId: world.subaccountId,
      agent_id: "a",
      chat_status: "error",
      start_timestamp: new Date(7),
      end_timestamp: Long.fromString("1700000000000000001"),
      transcript: "User: hi\n",
      metadata: { a: 1 },
      chat_cost: { combined_cost: 1 },
    });
    const { body } = await call("transcript", { ...at(world), chatId: "chat_odd" });
    expect(body.data).toEqual({
      ...empty,
      chat_id: "chat_odd",
      agent_id: "a",
      chat_status: "error",
      start_timestamp: 7,
      end_timestamp: 1.7e18,
      transcript: "User: hi\n",
      metadata: { a: 1 },
      chat_cost: { combined_cost: 1 },
    });
  });
});

describe("the id of an imported chat", () => {
  /** An ended chat with a given id. */
  async function imported(world: World, chatId: string): Promise<void> {
    const chat = await world.db.collection("chats").findOne({ chat_id: await aChat(world) });
    const { _id: _ours, ...rest } = chat ?? {};
    await world.db.collection("chats").insertOne({ ...rest, chat_id: chatId, chat_status: "ended", end_timestamp: 1 });
  }

  it.each(["a.b", "...", "urn:chat:1", "x".repeat(128), "-", "_", ":", "List", "create2"])(
    "may be of 1 to 128 of A-Z, a-z, 0-9, ., _, : and -: %s",
    async (chatId) => {
      const world = await aWorld();
      await imported(world, chatId);
      for (const name of ["transcript", "transcript", "end"] as const) {
        const { status, body } = await call(name, { ...at(world), chatId });
        expect([status, body.data?.chat_id]).toEqual([200, chatId]);
      }
      const { body } = await call("message", { ...at(world), chatId, body: { content: "ping" } });
      expect(body.code).toBe("CHAT_ENDED");
    },
  );

  it.each([
    ...["x".repeat(129), ".", "..", "a b", "a%20b", "é", "a\n", "a\u0000", "a$b", "$a", "a~"],
    ...["create", "list", "search", "analytics", "exports", "live", "batches", "templates", "webhooks", "attention"],
  ])("is refused, whatever the collection holds, where a path could not tell it apart: %j", async (chatId) => {
    const { status, body } = await call("end", { ...at(await shared), chatId });
    expect([status, body.code]).toEqual([400, "VALIDATION_ERROR"]);
    expect(body.errors).toEqual([{ field: "chatId", in: "path", message: expect.any(String) }]);
  });

  it("spells no other chat's key in the cache", async () => {
    const world = await aWorld();
    for (const chatId of ["x", "x:generation", "generation:x"]) await imported(world, chatId);
    const isCached = async (chatId: string) => (await call("transcript", { ...at(world), chatId })).body.meta.cached;
    for (const chatId of ["x", "x:generation", "generation:x"]) {
      expect([await isCached(chatId), await isCached(chatId)]).toEqual([false, true]);
    }
    await cache.forgetOrThrow([cache.chatKey(world.subaccountId, "x")]);
    expect(await isCached("x:generation")).toBe(true);
    expect([await isCached("x"), await isCached("x")]).toEqual([false, true]);
    await cache.forgetOrThrow([cache.chatKey(world.subaccountId, "x:generation")]);
    expect([await isCached("x"), await isCached("x:generation"), await isCached("x:generation")]).toEqual([
      true,
      false,
      true,
    ]);
  });
});

const shared = aWorld();

describe("a chat with an odd message in it", () => {
  it.each<[string, unknown]>([
    ["null", null],
    ["a text", "text"],
    ["a number", 7],
    ["a list", []],
    ["a message without a role", { content: "of no role" }],
    ["a message whose role is no text", { role: 7, content: "of no role" }],
  ])("is read, spoken in and ended, and each other message keeps its seq: %s", async (_what, odd) => {
    const world = await aWorld();
    const request = { ...at(world), chatId: await aChat(world) };
    await call("message", { ...request, body: { content: "ping" } });
    const filter = { chat_id: request.chatId };
    await world.db.collection("chats").updateOne(filter, {
      $push: { messages: { $each: [odd], $position: 1 } },
    } as object);
    const { status, body } = await call("transcript", request);
    expect([status, body.data?.messages.map(({ seq }: { seq: number }) => seq)]).toEqual([200, [1, 3, 4]]);
    const sent = await call("message", { ...request, body: { content: "ping" } });
    expect([sent.status, sent.body.data?.user_message.seq]).toEqual([200, 5]);
    expect((await call("end", request)).status).toBe(200);
    const tools = await call("transcript", { ...request, query: { include: "tools" } });
    expect([tools.status, tools.body.data?.message_count]).toEqual([200, 5]);
    expect((await call("list", at(world))).status).toBe(200);
  });

  it("shows of a message what can be read", async () => {
    const world = await aWorld();
    const request = { ...at(world), chatId: await aChat(world) };
    const odd = {
      "messages.0.content": { text: "x" },
      "messages.0.created_timestamp": new Date(),
      chat_status: "ended",
    };
    await world.db.collection("chats").updateOne({ chat_id: request.chatId }, { $set: odd });
    const { body } = await call("transcript", request);
    expect(body.data.messages[0]).toEqual({
      message_id: expect.any(String),
      role: "agent",
      content: '{"text":"x"}',
      seq: 1,
    });
  });
});

describe("a chat whose message_count is no number", () => {
  it.each<[string, unknown]>([
    ["a text", "3"],
    ["null", null],
    ["a list", [3]],
  ])("takes messages, is read and ended, and has the right count afterwards: %s", async (_what, odd) => {
    const world = await aWorld();
    const request = { ...at(world), chatId: await aChat(world) };
    const damage = () =>
      world.db.collection("chats").updateOne({ chat_id: request.chatId }, { $set: { message_count: odd } });
    await call("message", { ...request, body: { content: "ping" } });
    await fault(world, "completion", { kind: "status", status: 422 });
    await call("message", { ...request, body: { content: "refused" } });
    await damage();
    const { status, body } = await call("message", { ...request, body: { content: "ping" } });
    expect([status, body.code]).toEqual([200, undefined]);
    const stored = await world.db.collection("chats").findOne({ chat_id: request.chatId });
    expect(stored?.message_count).toBe(5);

    await damage();
    await control("retell", "POST", `/chats/${request.chatId}`, { content: "said elsewhere" });
    const read = await call("transcript", { ...request, query: { consistency: "strong" } });
    expect([read.status, read.body.data?.message_count]).toEqual([200, 7]);
    await damage();
    expect((await call("end", request)).status).toBe(200);
  });
});

describe("an ongoing chat of the old server", () => {
  const old = "Agent: what the old server stored\n";

  /** As the old server left it: no fields of ours, and a transcript. */
  async function anOldChat(world: World): Promise<string> {
    const chatId = await aChat(world);
    await call("message", { ...at(world), chatId, body: { content: "ping" } });
    await world.db
      .collection("chats")
      .updateOne({ chat_id: chatId }, { $unset: { internal: "" }, $set: { transcript: old } });
    return chatId;
  }

  const composed = /^Agent: .+\nUser: ping\nAgent: .+\n$/;

  it("shows a transcript of what it has, not the stored one", async () => {
    const world = await aWorld();
    const request = { ...at(world), chatId: await anOldChat(world) };
    const { body } = await call("transcript", request);
    expect([body.data.transcript, body.meta.stale]).toEqual([expect.stringMatching(composed), undefined]);
  });

  it("shows it also while Retell does not answer, and once the chat is over", async () => {
    const world = await aWorld();
    const request = { ...at(world), chatId: await anOldChat(world) };
    await fault(world, "retrieve", { kind: "status", status: 503 });
    const stale = await call("transcript", request);
    expect([stale.body.data.transcript, stale.body.meta.stale]).toEqual([expect.stringMatching(composed), true]);

    await call("end", request);
    const { body } = await call("transcript", request);
    expect([body.data.transcript, body.data.chat_status]).toEqual([expect.stringMatching(composed), "ended"]);
  });

  it("shows its metadata without our ids, should the old server have copied them from Retell", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world);
    const metadata = { mine: 1, [reservedKey]: { subaccountId: world.subaccountId, request: "x" } };
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { metadata } });
    for (const name of ["transcript", "end", "transcript", "transcript"] as const) {
      const { body } = await call(name, { ...at(world), chatId });
      expect(JSON.stringify(body)).not.toContain(reservedKey);
      if (name === "transcript") expect(body.data.metadata).toEqual({ mine: 1 });
    }
  });
});
