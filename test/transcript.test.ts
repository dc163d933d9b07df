import { describe, expect, it, vi } from "vitest";
import { aChat, aWorld, call, control, fault, type World } from "./support/world.ts";

const world = await aWorld();

const read = (chatId: string, query: Record<string, string> = {}, where: World = world, token = where.owner.token) =>
  call("transcript", { token, subaccountId: where.subaccountId, chatId, query });
const send = (chatId: string, content: string, where: World = world) =>
  call("message", { token: where.owner.token, subaccountId: where.subaccountId, chatId, body: { content } });
const end = (chatId: string, where: World = world) =>
  call("end", { token: where.owner.token, subaccountId: where.subaccountId, chatId });
const readsAtRetell = async (chatId: string) =>
  (await control("retell", "GET", `/requests?step=retrieve&chat_id=${chatId}`)).requests.length;
const stored = (chatId: string, where: World = world) => where.db.collection("chats").findOne({ chat_id: chatId });

type Shown = { role: string; content: string; seq: number; delivery?: string; message_id: string };
const shown = (answer: { body: { data: { messages: Shown[] } } }) => answer.body.data.messages;

/** An ended chat of `count` messages, straight into the collection. */
async function aStoredChat(where: World, count: number, content = (i: number) => `message ${i}`): Promise<string> {
  const chatId = `chat_${crypto.randomUUID().replaceAll("-", "")}`;
  await where.db.collection("chats").insertOne({
    chat_id: chatId,
    agent_id: "agent_shop",
    chat_status: "ended",
    start_timestamp: 1,
    end_timestamp: 2,
    transcript: "the whole text",
    message_count: count,
    messages: [...Array(count).keys()].map((i) => ({
      message_id: `m-${i + 1}`,
      role: i % 2 ? "user" : "agent",
      content: content(i + 1),
      created_timestamp: i,
      internal: {},
    })),
    metadata: {},
    retell_llm_dynamic_variables: {},
    collected_dynamic_variables: {},
    chat_cost: null,
    chat_analysis: null,
    subaccountId: where.subaccountId,
    createdAt: new Date(),
    internal: { revision: 1, retellUserCount: Math.floor(count / 2) },
  });
  return chatId;
}

describe("transcript", () => {
  it("shows an ongoing chat as Retell has it now", async () => {
    const chatId = await aChat(world, { metadata: { crm_id: "C-1" } });
    await send(chatId, "ping 1");
    const { status, body } = await read(chatId);
    expect(status).toBe(200);
    expect(body.data).toMatchObject({
      chat_id: chatId,
      chat_status: "ongoing",
      message_count: 3,
      metadata: { crm_id: "C-1" },
    });
    expect(body.data.transcript).toMatch(/^Agent: .*\nUser: ping 1\nAgent: .*\n$/);
    expect(body.data.messages.map((m: Shown) => [m.role, m.seq])).toEqual([
      ["agent", 1],
      ["user", 2],
      ["agent", 3],
    ]);
    expect(body.meta).toMatchObject({ cached: false });
    expect(JSON.stringify(body)).not.toMatch(/internal|_scalai|subaccountId|createdBy|thought_signature/);
  });

  it("merges what was said elsewhere, in order", async () => {
    const chatId = await aChat(world);
    await send(chatId, "ping 1");
    await control("retell", "PATCH", `/chats/${chatId}`, {
      add: [
        { role: "user", content: "from the dashboard" },
        { role: "agent", content: "noted" },
      ],
    });
    const answer = await read(chatId);
    expect(
      shown(answer)
        .map((m) => m.content)
        .slice(-2),
    ).toEqual(["from the dashboard", "noted"]);
    expect((await stored(chatId))?.internal.retellUserCount).toBe(2);
    expect((await send(chatId, "ping 2")).body.data.user_message.seq).toBe(6);
  });

  it("merges what was said elsewhere before a send of ours, each once, in the order of learning", async () => {
    const chatId = await aChat(world);
    const add = ["from the dashboard", "noted"].map((content, i) => ({ role: i === 0 ? "user" : "agent", content }));
    await control("retell", "PATCH", `/chats/${chatId}`, { add });
    await send(chatId, "ping 1");
    const contents = async () => shown(await read(chatId)).map((m) => m.content);
    const [, mine, reply, ...rest] = await contents();
    expect([mine, rest]).toEqual(["ping 1", ["from the dashboard", "noted"]]);
    await send(chatId, "ping 2");
    expect((await contents()).slice(1, -1)).toEqual([mine, reply, ...rest, "ping 2"]);
  });

  it("is never served from the cache while the chat is ongoing", async () => {
    const chatId = await aChat(world);
    for (const content of ["ping 1", "ping 2"]) {
      await send(chatId, content);
      const answer = await read(chatId);
      expect(answer.body.meta.cached).toBe(false);
      expect(shown(answer).at(-2)?.content).toBe(content);
    }
  });

  it("asks Retell once a second at most: apps poll", async () => {
    const chatId = await aChat(world);
    await read(chatId);
    await read(chatId);
    expect(await readsAtRetell(chatId)).toBe(1);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1_001 });
    try {
      await read(chatId);
    } finally {
      vi.useRealTimers();
    }
    expect(await readsAtRetell(chatId)).toBe(2);
  });

  it("learns that Retell has ended the chat, and how it went", async () => {
    const chatId = await aChat(world);
    await send(chatId, "ping");
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    const { body } = await read(chatId);
    expect(body.data).toMatchObject({ chat_status: "ended", end_timestamp: expect.any(Number) });
    expect((await stored(chatId))?.chat_status).toBe("ended");
  });

  it("serves a chat that is over from the cache, without asking Retell", async () => {
    const chatId = await aChat(world);
    await end(chatId);
    const reads = await readsAtRetell(chatId);
    const first = await read(chatId);
    const second = await read(chatId);
    expect([first.body.meta.cached, second.body.meta.cached]).toEqual([false, true]);
    expect(second.body.data).toEqual(first.body.data);
    expect(await readsAtRetell(chatId)).toBe(reads);
  });

  it("shows the stored copy when Retell does not answer, and says so", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "retrieve", { kind: "status", status: 503, count: 2 });
    const { status, body } = await read(chatId, {}, tenant);
    expect([status, body.meta.stale, body.data.messages.length]).toEqual([200, true, 1]);
    const strong = await read(chatId, { consistency: "strong" }, tenant);
    expect([strong.status, strong.body.code]).toEqual([503, "CHAT_RETRIEVE_FAILED"]);
    expect((await read(chatId, {}, tenant)).body.meta.stale).toBeUndefined();
  });

  it("keeps what we have when Retell keeps no history, or has it no more", async () => {
    const tenant = await aWorld({ agentId: "agent_private_1" });
    const chatId = await aChat(tenant);
    await send(chatId, "ping", tenant);
    expect(shown(await read(chatId, {}, tenant))).toHaveLength(3);
    await control("retell", "PATCH", `/chats/${chatId}`, { retained: false });
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2_000 });
    try {
      expect(shown(await read(chatId, {}, tenant))).toHaveLength(3);
    } finally {
      vi.useRealTimers();
    }
  });

  it("leaves tool calls out, unless a caller who may write asks for them", async () => {
    const chatId = await aChat(world);
    await send(chatId, "Where is my order?");
    await end(chatId);
    const plain = await read(chatId);
    expect(shown(plain).every(({ role }) => role === "agent" || role === "user")).toBe(true);

    const full = await read(chatId, { include: "tools" });
    expect(shown(full).map(({ role }) => role)).toContain("tool_call_invocation");
    expect(shown(full).map(({ seq }) => seq)).toEqual(shown(full).map((_, i) => i + 1));
    expect(JSON.stringify(full.body)).not.toContain("thought_signature");
    expect(full.body.meta.cached).toBe(false);

    const viewer = await read(chatId, { include: "tools" }, world, world.viewer.token);
    expect([viewer.status, viewer.body.code]).toEqual([403, "PERMISSION_DENIED"]);
    expect(viewer.body.details).toEqual({ requiredPermission: "write", effectiveRole: "viewer" });
  });

  it("pages through the messages by limit and after_seq, exclusive", async () => {
    const chatId = await aStoredChat(world, 10);
    const first = await read(chatId, { limit: "4" });
    expect(shown(first).map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    expect(first.body.meta).toMatchObject({ hasMore: true, nextSeq: 4 });
    expect(first.body.data.transcript).toBeUndefined();
    const last = await read(chatId, { limit: "6", after_seq: "4" });
    expect(shown(last).map(({ seq }) => seq)).toEqual([5, 6, 7, 8, 9, 10]);
    expect(last.body.meta).toMatchObject({ hasMore: false });
    expect(last.body.meta.nextSeq).toBeUndefined();
  });

  it.each([
    ["plain text", "x"],
    ["text that needs escaping twice", '"\n\\'],
    ["text of several bytes a character", "漢👍x"],
  ])("cuts an answer below 5.5 MB as Lambda counts it, at a message: %s", async (_name, unit) => {
    const chatId = await aStoredChat(world, 30, () => unit.repeat(200_000 / Buffer.byteLength(unit)));
    const seen: number[] = [];
    let after = "0";
    for (;;) {
      const answer = await read(chatId, after === "0" ? {} : { after_seq: after });
      expect(answer.lambdaBytes).toBeLessThan(5_600_000);
      expect(answer.body.data.transcript).toBeUndefined();
      seen.push(...shown(answer).map(({ seq }) => seq));
      if (!answer.body.meta.hasMore) break;
      after = String(answer.body.meta.nextSeq);
    }
    expect(seen).toEqual([...Array(30).keys()].map((i) => i + 1));
  });

  it.each([
    ["limit", "0"],
    ["after_seq", "1.5"],
    ["include", "everything"],
    ["consistency", "eventual"],
  ])("refuses %s=%s: 400", async (name, value) => {
    const { status, body } = await read("chat_any", { [name]: value });
    expect([status, body.errors[0].field]).toEqual([400, name]);
  });

  it("knows no chat of another tenant: 404, and nothing of it in the cache", async () => {
    const other = await aWorld();
    const chatId = await aChat(other);
    await end(chatId, other);
    await read(chatId, {}, other);
    await read(chatId, {}, other);
    const { status, body } = await read(chatId);
    expect([status, body.code]).toEqual([404, "CHAT_NOT_FOUND"]);
  });
});
