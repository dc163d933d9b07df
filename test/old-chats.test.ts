import type { Document } from "mongodb";
import { afterEach, describe, expect, it, vi } from "vitest";
import { end, read, send, stored, sweepLater, tell } from "./support/chats.ts";
import { aWorld, control, fault, type Response, type World } from "./support/world.ts";

afterEach(() => vi.useRealTimers());

const words = (messages: Document[]) => messages.map(({ content }) => content);
const shown = ({ body }: Response): Document[] => body.data.messages;

const whole = [
  { role: "agent", content: "Hi! How can I help?", message_id: "m-1" },
  { role: "user", content: "Where is my order?" },
  { role: "agent", content: "It arrives on Friday.", message_id: "m-4" },
  { role: "user", content: "Thanks" },
  { role: "agent", content: "You are welcome. Anything else?", message_id: "m-7" },
];

/** A chat as the old server leaves it: of its messages the last turn's. */
async function anOldChat(world: World, messages: Document[] = whole.slice(-1), entries: object[] = whole) {
  const chatId = `chat_${crypto.randomUUID().replaceAll("-", "")}`;
  await world.db.collection("chats").insertOne({
    chat_id: chatId,
    agent_id: world.agentId,
    chat_status: "ongoing",
    start_timestamp: 1_759_398_000_000,
    end_timestamp: null,
    transcript: "",
    message_count: messages.length,
    messages,
    metadata: {},
    retell_llm_dynamic_variables: {},
    collected_dynamic_variables: {},
    chat_cost: null,
    chat_analysis: null,
    subaccountId: world.subaccountId,
    createdAt: new Date(),
    updatedAt: new Date(),
    lastMessageAt: new Date(),
  });
  await control("retell", "POST", "/chats", { chat_id: chatId, key: world.apiKey, agent_id: world.agentId, entries });
  return chatId;
}

const named = (world: World, chatId: string) => ({
  chat_id: chatId,
  agent_id: world.agentId,
  chat_status: "ended",
  end_timestamp: Date.now(),
});

describe("an old chat whose history cannot be read", () => {
  it.each([422, 503, 408])(
    "takes no message: 503 MESSAGE_SEND_FAILED, and stays as it is: Retell says %i",
    async (status) => {
      const world = await aWorld();
      const chatId = await anOldChat(world);
      const before = await stored(world, chatId);
      await fault(world, "retrieve", { kind: "status", status });
      const refused = await send(world, chatId);
      expect([refused.status, refused.body.code]).toEqual([503, "MESSAGE_SEND_FAILED"]);
      expect(await stored(world, chatId)).toEqual(before);
      expect((await control("retell", "GET", `/requests?step=completion&chat_id=${chatId}`)).requests).toEqual([]);

      const sent = await send(world, chatId);
      expect([sent.status, sent.body.data?.user_message.seq]).toEqual([200, 6]);
      expect(words((await stored(world, chatId))?.messages).slice(0, 6)).toEqual([...words(whole), "ping"]);
    },
  );

  it("is shown as it is stored, whole and without seq, as its places will change", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world);
    await fault(world, "retrieve", { kind: "status", status: 503, count: 2 });
    for (const query of [undefined, { limit: "1", after_seq: "3" }]) {
      const stale = await read(world, chatId, query);
      expect(stale.body.meta.stale).toBe(true);
      expect(shown(stale)).toEqual(whole.slice(-1));
    }
    expect(shown(await read(world, chatId)).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
  });

  it("can be ended, and is imported in order by the next read that Retell answers", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world);
    await fault(world, "retrieve", { kind: "status", status: 503, count: 2 });
    expect((await end(world, chatId)).body.data?.chat_status).toBe("ended");
    const stale = await read(world, chatId);
    expect([stale.body.meta.stale, stale.body.data.chat_status]).toEqual([true, "ended"]);
    expect(shown(stale).map(({ seq }) => seq)).toEqual([undefined]);

    const answer = await read(world, chatId);
    expect([answer.body.meta.stale, answer.body.meta.cached]).toEqual([undefined, false]);
    expect(words(shown(answer))).toEqual(words(whole));
    expect(answer.body.data.transcript).toMatch(/^Agent: Hi!.*\n(.*\n){4}$/);
    expect((await read(world, chatId)).body.meta).toMatchObject({ cached: false }); // the import has forgotten it
    expect((await read(world, chatId)).body.meta.cached).toBe(true);
  });

  it("is not imported from a webhook that lacks messages of ours, while Retell cannot be read", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    await fault(world, "retrieve", { kind: "drop" });
    await tell(world, "chat_ended", { ...named(world, chatId), message_with_tool_calls: whole.slice(0, 1) });
    expect((await stored(world, chatId))?.chat_status).toBe("ended");
    expect(words(shown(await read(world, chatId)))).toEqual(words(whole));
    expect(words((await stored(world, chatId))?.messages)).toEqual(words(whole));
  });

  it("is closed by a webhook without messages, and imported in order by the sweep", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    await fault(world, "retrieve", { kind: "status", status: 503 });
    const analysis = { chat_summary: "s" };
    await tell(world, "chat_analyzed", {
      ...named(world, chatId),
      chat_analysis: analysis,
      chat_cost: { combined_cost: 1 },
    });
    const closed = await stored(world, chatId);
    expect(closed).toMatchObject({ chat_status: "ended", chat_analysis: analysis });
    expect(words(closed?.messages)).toEqual(words(whole.slice(-1)));
    expect(closed?.internal.nextSweepAt - Date.now()).toBeLessThan(60_000);

    await sweepLater(world, chatId);
    const chat = await stored(world, chatId);
    expect(words(chat?.messages)).toEqual(words(whole));
    expect(chat).toMatchObject({ message_count: 5, chat_analysis: analysis });
  });

  it("is kept as it is once Retell has refused it for a week after its end", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world);
    await fault(world, "retrieve", { kind: "status", status: 503 });
    await end(world, chatId);
    await control("retell", "PATCH", `/chats/${chatId}`, { retained: false });
    expect((await read(world, chatId)).body.meta.stale).toBe(true);
    const longAgo = { endedAt: new Date(Date.now() - 8 * 24 * 3_600_000) };
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: longAgo });
    await read(world, chatId);
    const answer = await read(world, chatId);
    expect([answer.body.meta.stale, shown(answer).map(({ seq }) => seq)]).toEqual([undefined, [1]]);
  });
});

describe("an old chat", () => {
  it("is imported by a webhook without messages, from Retell", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    await tell(world, "chat_ended", named(world, chatId));
    expect(words((await stored(world, chatId))?.messages)).toEqual(words(whole));
  });

  it("loses none of its messages to a webhook's, where Retell has none to show", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world, [{ role: "user", content: "mine", message_id: "m-9" }]);
    await control("retell", "PATCH", `/chats/${chatId}`, { retained: false });
    const entries = [{ role: "agent", content: "theirs", message_id: "x" }];
    await tell(world, "chat_ended", { ...named(world, chatId), message_with_tool_calls: entries });
    expect(words((await stored(world, chatId))?.messages).sort()).toEqual(["mine", "theirs"]);
  });

  it("keeps what it has where Retell answers and keeps no history", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { storage: "basic_attributes_only" });
    const answer = await read(world, chatId);
    expect([answer.body.meta.stale, words(shown(answer))]).toEqual([undefined, words(whole.slice(-1))]);
    expect((await send(world, chatId)).body.data?.user_message.seq).toBe(2);
  });

  it("that ended under the old server keeps the messages that it has", async () => {
    const world = await aWorld();
    const chatId = await anOldChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { chat_status: "ended" } });
    await tell(world, "chat_ended", { ...named(world, chatId), message_with_tool_calls: whole });
    const chat = await stored(world, chatId);
    expect([words(chat?.messages), chat?.chat_status]).toEqual([words(whole.slice(-1)), "ended"]);
  });
});
