import type { Document } from "mongodb";
import { describe, expect, it } from "vitest";
import { at, stored } from "./support/chats.ts";
import { aChat, aWorld, call, control, fault, type World } from "./support/world.ts";

const send = (world: World, chatId: string, content: string, headers = {}) =>
  call("message", { ...at(world, chatId), body: { content }, headers });
const read = async (world: World, chatId: string): Promise<Document[]> =>
  (await call("transcript", { ...at(world, chatId), query: { consistency: "strong" } })).body.data.messages;

/** What the old server does to a chat that was moved to us: its turn at Retell, and its last turn's messages alone. */
async function oldServerWrites(world: World, chatId: string, messages: Document[], turn = messages) {
  await control("retell", "PATCH", `/chats/${chatId}`, { add: turn });
  const lastMessageAt = new Date();
  await world.db
    .collection("chats")
    .updateOne({ chat_id: chatId }, { $set: { messages, message_count: messages.length, lastMessageAt } });
}

const turn = [
  { role: "user", content: "from the old server" },
  { role: "agent", content: "answered there", message_id: "m-old" },
];

describe("a chat of ours into which the old server has written", () => {
  it.each<[string, Document[]]>([
    ["fewer messages", turn.slice(-1)],
    ["as many messages", [...turn, { role: "agent", content: "more", message_id: "m-more" }]],
    ["no messages", []],
  ])("is imported again by the next read: %s", async (_how, messages) => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await send(world, chatId, "ping");
    const before = await read(world, chatId);
    await oldServerWrites(world, chatId, messages, messages.length > 2 ? messages : turn);

    const after = await read(world, chatId);
    expect(after.map(({ role, content, seq }) => [role, content, seq])).toEqual([
      ...before.map(({ role, content, seq }) => [role, content, seq]),
      ["user", "from the old server", 4],
      ["agent", "answered there", 5],
      ...(messages.length > 2 ? [["agent", "more", 6]] : []),
    ]);
    // Retell's ids stay; those of ours went with the messages.
    expect(after.slice(0, 3).map((m) => m.message_id)[2]).toBe(before[2]?.message_id);
    expect(await read(world, chatId)).toEqual(after);
  });

  it("is imported again after its end, too: the agent ended it while the old server wrote", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await send(world, chatId, "ping");
    const before = await read(world, chatId);
    await oldServerWrites(world, chatId, turn.slice(-1), turn);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    // A request that had read the messages before the old server wrote stores the end.
    const ended = { chat_status: "ended", end_timestamp: Date.now(), endedAt: new Date() };
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: ended });
    const contents = [...before.map(({ content }) => content), "from the old server", "answered there"];
    expect((await read(world, chatId)).map(({ content }) => content)).toEqual(contents);
    expect((await stored(world, chatId))?.messages.map(({ content }: Document) => content)).toEqual(contents);
  });

  it("is imported again by the next send, which follows in order, and is sent once", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await send(world, chatId, "ping");
    await oldServerWrites(world, chatId, turn);
    const { status, body } = await send(world, chatId, "ping again");
    expect([status, body.data?.user_message.seq]).toEqual([200, 6]);
    const chat = await stored(world, chatId);
    expect(chat?.messages.map(({ content }: Document) => content)).toEqual([
      expect.any(String),
      "ping",
      expect.any(String),
      "from the old server",
      "answered there",
      "ping again",
      body.data.messages[0].content,
    ]);
    expect(chat?.message_count).toBe(7);
  });

  it("takes no message while Retell cannot be read: 503, and nothing is stored on top", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await send(world, chatId, "ping");
    await oldServerWrites(world, chatId, turn);
    const before = await stored(world, chatId);
    await fault(world, "retrieve", { kind: "status", status: 503 });
    expect((await send(world, chatId, "ping again")).status).toBe(503);
    expect(await stored(world, chatId)).toEqual(before);
  });

  it("frees a turn whose outcome was unknown and whose message is gone: Retell's history has it, if it arrived", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "drop", effect: "before" });
    await fault(world, "retrieve", { kind: "drop" });
    expect((await send(world, chatId, "lost?")).body.details?.outcome).toBe("unknown");
    await oldServerWrites(world, chatId, turn);
    const contents = (await read(world, chatId)).map(({ content }) => content);
    expect(contents.slice(1)).toEqual(["lost?", expect.any(String), "from the old server", "answered there"]);
    expect((await stored(world, chatId))?.internal.turn).toBeUndefined();
  });
});
