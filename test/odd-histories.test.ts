import { beforeEach, describe, expect, it, vi } from "vitest";
import { aRetellBetween } from "./support/between.ts";
import { at } from "./support/chats.ts";
import { aChat, aWorld, call, control, fault, type Response, type World } from "./support/world.ts";

const between = await aRetellBetween();

/** Has Retell's chats read otherwise than they are. */
function readAs(change: (chat: { message_with_tool_calls: unknown[] }) => unknown): void {
  between.after = (path, answer) => path.startsWith("/get-chat/") && change(answer);
}

describe("a history of Retell's", () => {
  it("with entries that nobody expects still tells what became of a send, and shows what it can", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const odd = [
      7,
      null,
      { content: "of no role" },
      { role: "tool_call_result", tool_call_id: "t1", content: [{ type: "text", text: "x" }] },
      { role: "agent", message_id: 9, created_timestamp: "today", content: "still there?" },
    ];
    readAs((chat) => chat.message_with_tool_calls.push(...odd));
    await fault(world, "completion", { kind: "drop", effect: "before" });
    const { status, body } = await call("message", { ...at(world, chatId), body: { content: "ping" } });
    expect([status, body.data?.messages.at(-1)]).toEqual([200, expect.objectContaining({ content: "still there?" })]);

    const read = await call("transcript", { ...at(world, chatId), query: { include: "tools" } });
    const shown = read.body.data.messages.map(({ role, content }: Record<string, string>) => [role, content]);
    expect(shown.slice(1)).toEqual([
      ["user", "ping"],
      ["agent", expect.any(String)],
      ["tool_call_result", '[{"type":"text","text":"x"}]'],
      ["agent", "still there?"],
    ]);
    for (const { message_id, created_timestamp } of read.body.data.messages) {
      expect([typeof message_id, typeof created_timestamp]).toEqual(["string", "number"]);
    }
  });

  it("with what MongoDB cannot hold, or with fields named as ours, is read for the rest", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    let deep: object = {};
    for (let i = 0; i < 300; i++) deep = { deep };
    const odd = [
      { role: "agent", message_id: "m1", content: "one", extra: { _bsontype: "Long" }, "a\0b": 1, deep },
      { role: "user", message_id: "m2", content: "two", internal: { failed: true, turn: "T9" }, seq: 99 },
      { role: "agent", message_id: "m3", content: "three", internal: "text", delivery: "failed" },
    ];
    readAs((chat) => chat.message_with_tool_calls.push(...odd));
    for (let i = 0; i < 2; i++) {
      const { status, body } = await call("transcript", { ...at(world, chatId), query: { consistency: "strong" } });
      expect(status).toBe(200);
      const shown = body.data.messages.map(({ content, seq, delivery }: Record<string, unknown>) => [
        content,
        seq,
        delivery,
      ]);
      expect(shown.slice(1)).toEqual([
        ["one", 2, undefined],
        ["two", 3, undefined],
        ["three", 4, undefined],
      ]);
    }
    expect((await call("end", at(world, chatId))).body.data?.chat_status).toBe("ended");
  });

  it("of which a completion repeats an entry of an earlier turn, unknown so far: the turn's answer is without it", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    between.after = (path, answer) => {
      if (path !== "/create-chat-completion") return;
      const created_timestamp = answer.messages[0].created_timestamp - 60_000;
      answer.messages.push({ role: "agent", message_id: "message_earlier", content: "earlier", created_timestamp });
    };
    const { status, body } = await call("message", { ...at(world, chatId), body: { content: "ping" } });
    expect([status, body.data?.messages.length]).toEqual([200, 1]);
    expect(body.data.messages[0].content).not.toBe("earlier");
  });

  it("with entries that stand in it twice gives each once: to an import, to an unknown turn, to a read", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await call("message", { ...at(world, chatId), body: { content: "ping one" } });
    const old = { $unset: { internal: "" }, $push: { messages: { $each: [], $slice: -1 } } };
    await world.db.collection("chats").updateOne({ chat_id: chatId }, old as object);
    readAs((chat) => chat.message_with_tool_calls.push(...chat.message_with_tool_calls));
    await fault(world, "completion", { kind: "drop", effect: "before" });
    expect((await call("message", { ...at(world, chatId), body: { content: "ping two" } })).status).toBe(200);
    await control("retell", "POST", `/chats/${chatId}`, { content: "ping three" });
    const { body } = await call("transcript", { ...at(world, chatId), query: { consistency: "strong" } });
    const said = body.data.messages.filter(({ role }: { role: string }) => role === "user");
    expect(said.map(({ content }: { content: string }) => content)).toEqual(["ping one", "ping two", "ping three"]);
    expect(body.data.messages).toHaveLength(7);
  });

  it("with half a surrogate pair is answered, stored and replayed as the same text, and added once", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    between.after = (path, answer) => {
      const entries = path.startsWith("/get-chat/") ? answer.message_with_tool_calls : answer?.messages;
      const last = (entries ?? []).findLast(({ role }: { role: string }) => role === "agent");
      if (last) Object.assign(last, { content: "half \ud83d of it", message_id: undefined });
    };
    const request = { ...at(world, chatId), body: { content: "ping" }, headers: { "idempotency-key": "k" } };
    const [first, replay] = [await call("message", request), await call("message", request)];
    expect(first.body.data.messages[0].content).toBe("half \ufffd of it");
    expect(replay.body.data).toEqual(first.body.data);
    const { body } = await call("transcript", { ...at(world, chatId), query: { consistency: "strong" } });
    expect(body.data.messages).toHaveLength(3);
  });

  it.each<[string, object]>([
    ["cost", { chat_cost: 3 }],
    ["analysis", { chat_analysis: "good" }],
    ["times", { start_timestamp: "today", end_timestamp: {} }],
    ["times of no year", { start_timestamp: 1e300, end_timestamp: -5 }],
    ["transcript", { transcript: ["Agent: hello"] }],
    ["collected variables", { collected_dynamic_variables: [] }],
  ])("of odd %s still tells that the chat is over", async (_what, odd) => {
    const world = await aWorld();
    const chatId = await aChat(world);
    readAs((chat) => Object.assign(chat, odd));
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    const { status, body } = await call("transcript", { ...at(world, chatId), query: { consistency: "strong" } });
    const told = { chat_status: "ended", end_timestamp: expect.any(Number), message_count: 1 };
    expect([status, body.data]).toEqual([200, expect.objectContaining(told)]);
    expect(Math.abs(body.data.end_timestamp - Date.now())).toBeLessThan(3_600_000);
  });
});

describe("a list of Retell's", () => {
  it("that has more, and no key to it, is read on behind what it has given", async () => {
    const world = await aWorld();
    const create = { ...at(world, ""), headers: { "idempotency-key": "k1" }, body: { agentId: world.agentId } };
    await fault(world, "create", { kind: "drop", effect: "before" });
    expect((await call("create", create)).status).toBe(504);
    const later = await aChat(world); // the list begins with the latest
    let pages = 0;
    between.after = (path, answer) => {
      if (path !== "/v3/list-chats" || ++pages > 1) return;
      Object.assign(answer, { items: answer.items.slice(0, 1), has_more: true, pagination_key: null });
    };
    const { status, headers, body } = await call("create", create);
    expect([status, headers["idempotent-replayed"], pages]).toEqual([200, "true", 2]);
    expect(body.data.chat_id).not.toBe(later);
  });

  it("that gives the same key again is not asked for ever", async () => {
    const world = await aWorld();
    const create = { ...at(world, ""), headers: { "idempotency-key": "k1" }, body: { agentId: world.agentId } };
    await fault(world, "create", { kind: "drop" });
    expect((await call("create", create)).status).toBe(504);
    const pagination_key = Buffer.from("[0,0]").toString("base64url"); // behind all chats
    let pages = 0;
    between.after = (path, answer) => {
      if (path !== "/v3/list-chats") return;
      if (++pages > 10) throw new Error("for ever");
      Object.assign(answer, { has_more: true, pagination_key });
    };
    expect((await call("create", create)).body.code).toBe("REQUEST_IN_PROGRESS");
    expect(pages).toBe(2);
  });
});

/** Every field that one kind of entry has and another has not. */
const fields = ["message_id", "created_timestamp", "content", "tool_call_id", "name", "arguments", "thought_signature"];

const shown = ({ body }: Response): Record<string, unknown>[] => body.data.messages;

describe("a Retell that writes null for what an entry does not have", () => {
  let world: World;
  beforeEach(async () => {
    world = await aWorld({ agentId: `agent_bare_${crypto.randomUUID()}` });
    between.after = (_path, answer) => {
      for (const entry of [...(answer?.messages ?? []), ...(answer?.message_with_tool_calls ?? [])]) {
        for (const field of fields) entry[field] ??= null;
      }
      if (answer?.chat_id) {
        for (const field of ["end_timestamp", "chat_cost", "chat_analysis", "transcript"]) answer[field] ??= null;
      }
    };
  });

  it("is read as one that leaves it out, from the create to the end", async () => {
    const created = await call("create", { ...at(world, ""), body: { agentId: world.agentId } });
    expect([created.status, created.body.data?.messages.length]).toEqual([200, 1]);
    const chatId = created.body.data.chat_id;
    const sent = await call("message", { ...at(world, chatId), body: { content: "Where is my order?" } });
    expect([sent.status, sent.body.data?.messages.length]).toEqual([200, 1]);

    const request = { ...at(world, chatId), query: { include: "tools" } };
    const read = await call("transcript", request);
    expect([read.status, read.body.meta.stale]).toEqual([200, undefined]);
    const roles = ["agent", "user", "tool_call_invocation", "tool_call_result", "agent"];
    expect(shown(read).map(({ role }) => role)).toEqual(roles);
    for (const message of shown(read)) {
      expect(message.message_id).toMatch(/^msg_/);
      expect(message.created_timestamp).toEqual(expect.any(Number));
      expect(Object.values(message)).not.toContain(null);
    }

    expect((await call("end", at(world, chatId))).body.data).toMatchObject({
      chat_status: "ended",
      end_timestamp: expect.any(Number),
    });
    expect(shown(await call("transcript", request))).toEqual(shown(read));
  });

  it("loses no reply whose answer was lost", async () => {
    const created = await call("create", { ...at(world, ""), body: { agentId: world.agentId } });
    const chatId = created.body.data.chat_id;
    const { after } = between;
    between.after = (path, answer) => {
      if (path === "/create-chat-completion") throw new Error("cut");
      return after(path, answer);
    };
    const sent = await call("message", { ...at(world, chatId), body: { content: "ping" } });
    expect([sent.status, sent.body.data?.messages.length]).toEqual([200, 1]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1_001 });
    try {
      expect(shown(await call("transcript", at(world, chatId)))).toHaveLength(3);
    } finally {
      vi.useRealTimers();
    }
  });
});
