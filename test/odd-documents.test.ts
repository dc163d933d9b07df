import { describe, expect, it } from "vitest";
import { reservedKey } from "../lib/retell/client.ts";
import { aChat, aWorld, call, fault, type World } from "./support/world.ts";

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
