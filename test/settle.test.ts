import { beforeEach, describe, expect, it, vi } from "vitest";
import { end, read, send, stored } from "./support/chats.ts";
import { aChat, aWorld, control, fault, type Response, type World } from "./support/world.ts";

const change = (chatId: string, patch: object) => control("retell", "PATCH", `/chats/${chatId}`, patch);
const verdict = ({ status, body }: Response) => [status, body.code];
const shown = ({ body }: Response): [string, string | undefined][] =>
  body.data.messages.map(({ content, delivery }: Record<string, string>) => [content, delivery]);

let world: World;
let chatId: string;
beforeEach(async () => {
  world = await aWorld();
  chatId = await aChat(world);
});

/** A turn whose sender died: the user's message is stored, and its outcome is unknown. */
async function anOpenTurn(content: string, ageMs: number, state: "sending" | "unknown", more: object = {}) {
  const id = crypto.randomUUID();
  const message = { message_id: `msg_${id}`, role: "user", content, created_timestamp: 1, internal: { turn: id } };
  await world.db.collection("chats").updateOne(
    { chat_id: chatId },
    {
      $push: { messages: message } as object,
      $set: {
        "internal.turn": { id, operationId: crypto.randomUUID(), state, at: new Date(Date.now() - ageMs) },
        ...more,
      },
      $inc: { "internal.revision": 1, message_count: 1 },
    },
  );
}

/** Moves the clock by a second: within a second of the last read, Retell is not asked again. */
async function aSecondLater<T>(work: () => Promise<T>): Promise<T> {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1_001 });
  try {
    return await work();
  } finally {
    vi.useRealTimers();
  }
}

describe("a chat that is over with a turn still open", () => {
  it("is settled by the next read", async () => {
    await change(chatId, { add: [{ role: "user", content: "order?" }, agent("On its way.")], status: "ended" });
    await anOpenTurn("order?", 20_000, "unknown", { chat_status: "ended", end_timestamp: 1 });
    expect(shown(await read(world, chatId)).slice(1)).toEqual([
      ["order?", undefined],
      ["On its way.", undefined],
    ]);
    expect((await stored(world, chatId))?.internal.turn).toBeUndefined();
    const later = [await read(world, chatId), await read(world, chatId)];
    expect(later.map(({ body }) => body.meta.cached)).toEqual([false, true]);
  });

  it.each<[string, number, "sending" | "unknown", object | undefined]>([
    ["its sender may be alive", 0, "sending", undefined],
    ["Retell does not answer", 20_000, "unknown", { kind: "status", status: 503, count: 2 }],
  ])("is not cached while %s", async (_why, ageMs, state, trouble) => {
    await change(chatId, { status: "ended" });
    await anOpenTurn("order?", ageMs, state, { chat_status: "ended", end_timestamp: 1 });
    if (trouble) await fault(world, "retrieve", trouble);
    for (let i = 0; i < 2; i++) {
      const answer = await read(world, chatId);
      expect(answer.body.meta.cached).toBe(false);
      expect(shown(answer).at(-1)).toEqual(["order?", "pending"]);
    }
    const turn = { "internal.turn.at": new Date(Date.now() - 60_000) };
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: turn });
    expect(shown(await read(world, chatId)).at(-1)).toEqual(["order?", "failed"]);
  });
});

describe("a reply that Retell shows in pieces", () => {
  const call = { role: "tool_call_invocation", tool_call_id: "t-1", name: "look_up", arguments: "{}" };
  const result = { role: "tool_call_result", tool_call_id: "t-1", content: "found" };

  it("is waited for until the agent's words are there, and found in order", async () => {
    await anOpenTurn("order?", 20_000, "unknown");
    await change(chatId, { add: [{ role: "user", content: "order?" }, call] });
    const waiting = await read(world, chatId);
    expect([...(shown(waiting).at(-1) ?? []), waiting.body.meta.poll_after_ms]).toEqual(["order?", "pending", 1_000]);
    expect(verdict(await send(world, chatId, "ping"))).toEqual([409, "CHAT_BUSY"]);
    await change(chatId, { add: [result] });
    expect(shown(await read(world, chatId)).at(-1)).toEqual(["order?", "pending"]);

    await change(chatId, { add: [agent("On its way.")] });
    expect(verdict(await send(world, chatId, "ping"))).toEqual([200, undefined]);
    const { body } = await read(world, chatId, { include: "tools" });
    expect(body.meta.poll_after_ms).toBe(5_000);
    expect(body.data.messages.map((m: { role: string }) => m.role).slice(1)).toEqual([
      "user",
      "tool_call_invocation",
      "tool_call_result",
      "agent",
      "user",
      "agent",
    ]);
    expect(body.data.messages.map((m: { content: string }) => m.content)).toEqual(
      (await control("retell", "GET", `/chats/${chatId}`)).entries.map((e: { content: string }) => e.content),
    );
  });

  it("ends without the agent's words where the chat is over", async () => {
    await anOpenTurn("order?", 20_000, "unknown");
    await change(chatId, { add: [{ role: "user", content: "order?" }, call], status: "ended" });
    expect(shown(await read(world, chatId)).at(-1)).toEqual(["order?", undefined]);
    expect((await stored(world, chatId))?.internal.turn).toBeUndefined();
  });
});

describe("a plain refusal (400)", () => {
  it.each<[string, () => Promise<unknown>]>([
    ["keeps no history", () => change(chatId, { storage: "basic_attributes_only" })],
    ["has lost the chat", () => change(chatId, { retained: false })],
  ])("by a Retell that %s is a 503 at once, and the chat is free", async (_what, prepare) => {
    await prepare();
    await fault(world, "completion", { kind: "status", status: 400 });
    expect(verdict(await send(world, chatId, "lost"))).toEqual([503, "MESSAGE_SEND_FAILED"]);
    const chat = await stored(world, chatId);
    expect(chat?.internal.turn).toBeUndefined();
    expect(chat?.messages.at(-1)).toMatchObject({ content: "lost", internal: { failed: true } });
    expect(chat?.message_count).toBe(1);
  });

  it("where no history is kept lets the next send through", async () => {
    await change(chatId, { storage: "basic_attributes_only" });
    await fault(world, "completion", { kind: "status", status: 422 });
    await send(world, chatId, "lost");
    expect(verdict(await send(world, chatId, "found"))).toEqual([200, undefined]);
  });
});

describe("a history with other message ids than the reply's", () => {
  const roles = ["agent", "user", "agent", "user", "tool_call_invocation", "tool_call_result", "agent"];

  it.each<[string, object, object | undefined]>([
    ["none in the reply", { ids: "history" }, undefined],
    ["none at all", { ids: "never" }, undefined],
    ["some now and then", { ids: "sometimes" }, undefined],
    ["new ones in the history", {}, { newIds: true }],
  ])("(%s) doubles nothing, and changes no id that was shown", async (_what, profile, patch) => {
    const agentId = `agent_of_ids_${crypto.randomUUID()}`;
    await control("retell", "PUT", `/agents/${agentId}`, profile);
    world = await aWorld({ agentId });
    chatId = await aChat(world);
    const told = [await send(world, chatId, "ping"), await send(world, chatId, "Where is my order?")];
    if (patch) await change(chatId, patch);

    const first = await aSecondLater(() => read(world, chatId, { include: "tools" }));
    expect(first.body.data.messages.map((m: { role: string }) => m.role)).toEqual(roles);
    await send(world, chatId, "ping");
    if (patch) await change(chatId, patch);
    await end(world, chatId);
    const last = await read(world, chatId, { include: "tools" });
    expect(last.body.data.messages.map((m: { role: string }) => m.role)).toEqual([...roles, "user", "agent"]);
    const ids = (answer: Response): string[] =>
      answer.body.data.messages.map((m: { message_id: string }) => m.message_id);
    expect(ids(last).slice(0, roles.length)).toEqual(ids(first));
    expect(ids(first)).toEqual(expect.arrayContaining(told.flatMap(ids)));
  });
});

describe("a send to a chat whose last sender is gone", () => {
  it("is told to come back, the later the longer that turn is open", async () => {
    await anOpenTurn("order?", 45_000, "sending");
    const waits: number[] = [];
    for (const ageMs of [45_000, 120_000, 200_000, 320_000]) {
      const turn = { "internal.turn.at": new Date(Date.now() - ageMs) };
      await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: turn });
      const answer = await send(world, chatId, "ping");
      expect(verdict(answer)).toEqual([409, "CHAT_BUSY"]);
      expect(answer.headers["retry-after"]).toBe(String(answer.body.retryAfter));
      waits.push(answer.body.retryAfter);
    }
    expect(waits).toEqual([...new Set(waits)].sort((a, b) => a - b));
    expect(waits[0]).toBeGreaterThanOrEqual(5);
    expect(waits.at(-1)).toBe(60);
  });
});

function agent(content: string) {
  return { role: "agent", content };
}
