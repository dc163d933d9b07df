import "./support/own-retell.ts";
import { afterEach, describe, expect, it, vi } from "vitest";
import { publicEndpoint } from "../lib/api/chain.ts";
import { routes } from "../lib/api/routes.ts";
import { aChat, aContext, aWorld, call, control, eventFor, fault, type Response, type World } from "./support/world.ts";

const world = await aWorld();
afterEach(() => void vi.useRealTimers());

function send(chatId: string, content: unknown, more: object = {}, where: World = world): Promise<Response> {
  return call("message", {
    token: where.owner.token,
    subaccountId: where.subaccountId,
    chatId,
    body: { content },
    ...more,
  });
}

async function read(chatId: string, where: World = world) {
  return call("transcript", { token: where.owner.token, subaccountId: where.subaccountId, chatId });
}

const stored = (chatId: string, where: World = world) => where.db.collection("chats").findOne({ chat_id: chatId });
const atRetell = async (chatId: string) => control("retell", "GET", `/chats/${chatId}`);
const userEntries = async (chatId: string): Promise<string[]> =>
  (await atRetell(chatId)).entries
    .filter((e: { role: string }) => e.role === "user")
    .map((e: { content: string }) => e.content);
const said = (response: Response) => response.body.data.messages.map((m: { content: string }) => m.content);

describe("message", () => {
  it("sends what the user says, as given, and answers with the agent's messages of this turn", async () => {
    const chatId = await aChat(world);
    const { status, body } = await send(chatId, "  ping 1\n");
    expect(status).toBe(200);
    expect(body.data).toMatchObject({
      chat_id: chatId,
      chat_status: "ongoing",
      messages: [{ role: "agent", seq: 3 }],
      user_message: { seq: 2 },
    });
    expect(await userEntries(chatId)).toEqual(["  ping 1\n"]);
  });

  it("gives the client's own id back: in the answer, in its repeat and in the transcript", async () => {
    const chatId = await aChat(world);
    const body = { content: "ping", client_message_id: "local 漢 1" };
    const key = { headers: { "idempotency-key": "k1" } };
    const first = await send(chatId, "", { body, ...key });
    expect(first.body.data.user_message).toEqual({
      message_id: expect.any(String),
      seq: 2,
      client_message_id: "local 漢 1",
    });
    expect((await send(chatId, "", { body, ...key })).body.data).toEqual(first.body.data);
    const { messages } = (await read(chatId)).body.data;
    expect(messages.map((m: { client_message_id?: string }) => m.client_message_id)).toEqual([
      undefined,
      "local 漢 1",
      undefined,
    ]);
    // It is part of the request that a key names, and no key itself.
    const other = { body: { ...body, client_message_id: "local 2" } };
    expect((await send(chatId, "", { ...other, ...key })).body.code).toBe("IDEMPOTENCY_KEY_REUSED");
    expect((await send(chatId, "", { body })).body.data.user_message).toMatchObject({ seq: 4 });
  });

  it.each(["", "x".repeat(129), "\ud800", 7])("refuses %j as a client_message_id", async (client_message_id) => {
    const { status, body } = await send("chat_any", "", { body: { content: "ping", client_message_id } });
    expect([status, body.errors[0]?.field]).toEqual([400, "client_message_id"]);
  });

  it("after three sends the stored history holds all messages, in order", async () => {
    const chatId = await aChat(world, { agentId: world.agentId });
    for (const content of ["ping 1", "ping 2", "ping 3"]) expect((await send(chatId, content)).status).toBe(200);
    const chat = await stored(chatId);
    expect(chat?.messages.map((m: { role: string }) => m.role)).toEqual([
      "agent",
      "user",
      "agent",
      "user",
      "agent",
      "user",
      "agent",
    ]);
    expect(
      chat?.messages.filter((m: { role: string }) => m.role === "user").map((m: { content: string }) => m.content),
    ).toEqual(["ping 1", "ping 2", "ping 3"]);
    expect(chat).toMatchObject({ message_count: 7, internal: { retellUserCount: 3 } });
    expect(chat?.internal.turn).toBeUndefined();
  });

  it("lets two users of one subaccount take turns in one chat", async () => {
    const tenant = await aWorld();
    const other = await import("./support/world.ts").then(async ({ aUser, aMembership }) => {
      const user = await aUser();
      await aMembership(tenant.subaccountId, user.id, ["read", "write"]);
      return user;
    });
    const chatId = await aChat(tenant);
    expect((await send(chatId, "from the owner", {}, tenant)).status).toBe(200);
    expect((await send(chatId, "from the other", { token: other.token }, tenant)).status).toBe(200);
    const { body } = await read(chatId, tenant);
    const users = body.data.messages.filter((m: { role: string }) => m.role === "user");
    expect(users.map((m: { content: string }) => m.content)).toEqual(["from the owner", "from the other"]);
  });

  it("of two sends at once takes one, and tells the other to come back: 409 CHAT_BUSY", async () => {
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "latency", ms: 300, chat_id: chatId });
    const answers = await Promise.all([send(chatId, "one"), send(chatId, "two")]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    const refused = answers.find(({ status }) => status === 409);
    expect(refused?.body).toMatchObject({ code: "CHAT_BUSY", retryAfter: 2 });
    expect(refused?.headers["retry-after"]).toBe("2");
    expect(await userEntries(chatId)).toHaveLength(1);
  });

  it("returns several agent messages, or none, as they come", async () => {
    const chatId = await aChat(world);
    expect((await send(chatId, "I want a refund")).body.data.messages.length).toBeGreaterThan(1);
    expect(said(await send(chatId, "silence"))).toEqual([]);
    expect((await send(chatId, "ping")).body.data.messages).toHaveLength(1);
  });

  it("stores tool calls and shows none of them", async () => {
    const chatId = await aChat(world);
    const { body } = await send(chatId, "Where is my order?");
    expect(body.data.messages.every((m: { role: string }) => m.role === "agent")).toBe(true);
    const roles = (await stored(chatId))?.messages.map((m: { role: string }) => m.role);
    expect(roles).toContain("tool_call_invocation");
  });

  it("gives messages without an id one of ours, which never changes", async () => {
    const tenant = await aWorld({ agentId: "agent_bare_1" });
    const chatId = await aChat(tenant);
    const [message] = (await send(chatId, "ping", {}, tenant)).body.data.messages;
    expect(message.message_id).toMatch(/^msg_/);
    const shown = (await read(chatId, tenant)).body.data.messages;
    expect(shown.at(-1).message_id).toBe(message.message_id);
    expect(shown.map((m: { seq: number }) => m.seq)).toEqual([1, 2, 3]);
  });

  it("learns that the agent has ended the chat, and says so", async () => {
    const chatId = await aChat(world);
    const { body } = await send(chatId, "goodbye");
    expect(body.data.chat_status).toBe("ended");
    expect((await stored(chatId))?.chat_status).toBe("ended");
    const before = await stored(chatId);
    const next = await send(chatId, "one more thing");
    expect([next.status, next.body.code]).toEqual([409, "CHAT_ENDED"]);
    expect(await stored(chatId)).toEqual(before);
  });

  it("does not keep a reply back for long to learn whether it was the last", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "retrieve", { kind: "latency", ms: 6_000 });
    const { status, body } = await send(chatId, "goodbye", {}, tenant);
    expect([status, body.data.messages.length, body.data.chat_status]).toEqual([200, 1, "ongoing"]);
    const chat = await stored(chatId, tenant); // the sweep looks within a minute
    expect(chat?.internal.nextSweepAt.getTime() - chat?.updatedAt.getTime()).toBeLessThanOrEqual(60_000);
    expect((await send(chatId, "hello?", {}, tenant)).body.code).toBe("CHAT_ENDED");
  });

  it("refuses a message to a chat that ended behind our back: 409, and stores it as failed", async () => {
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    const { status, body } = await send(chatId, "hello?");
    expect([status, body.code]).toEqual([409, "CHAT_ENDED"]);
    const chat = await stored(chatId);
    expect(chat?.chat_status).toBe("ended");
    expect(chat?.messages.at(-1)).toMatchObject({ content: "hello?", internal: { failed: true } });
    expect(chat?.message_count).toBe(1);
  });

  it("cannot see another tenant's chat: 404", async () => {
    const other = await aWorld();
    const chatId = await aChat(other);
    const { status, body } = await send(chatId, "let me in");
    expect([status, body.code]).toEqual([404, "CHAT_NOT_FOUND"]);
    expect(await userEntries(chatId)).toEqual([]);
  });

  it.each([
    ["nothing", undefined],
    ["an empty text", ""],
    ["blanks", " \n\t "],
    ["a blank of each kind", "\u00a0\u1680\u2003\u2028\u3000\ufeff"],
    ["characters without width", "\u200b\u200c\u200d\u2060"],
    ["a soft hyphen", "\u00ad"],
    ["direction marks", "\u200e\u202a\u202c\u2066\u2069"],
    ["control characters", "\0\u0007\u001b\u009f"],
    ["fillers", "\u115f\u1160\u3164\uffa0\u034f"],
    ["a braille blank", "\u2800"],
    ["variation selectors and tags", "\ufe0f\u{e0100}\u{e0041}\u{e007f}"],
    ["10,001 characters", "x".repeat(10_001)],
    ["half a surrogate pair", "a\ud800b"],
    ["a number", 7],
    ["an operator", { $gt: "" }],
    ["a list", ["a"]],
  ])("refuses %s as content: 400", async (_name, content) => {
    const { status, body } = await send("chat_any", content);
    expect([status, body.code, body.errors[0].field]).toEqual([400, "VALIDATION_ERROR", "content"]);
  });

  it("says of content in which nothing is visible that it is blank", async () => {
    const errors = [{ field: "content", in: "body", message: "Must not be blank" }];
    expect((await send("chat_any", "\u200b\n")).body.errors).toEqual(errors);
  });

  it.each(["👩\u200d🚀", "❤\ufe0f", "\u200fשלום\u200e", "\u2801", "\u0301"])("takes %j as given", async (content) => {
    const chatId = await aChat(world);
    expect((await send(chatId, content)).status).toBe(200);
    expect(await userEntries(chatId)).toEqual([content]);
  });

  it("takes 10,000 characters, emoji and NUL as they are", async () => {
    const chatId = await aChat(world);
    const content = `${"x".repeat(9_990)}\0👍🏽`;
    expect((await send(chatId, content)).status).toBe(200);
    expect(await userEntries(chatId)).toEqual([content]);
  });

  it("refuses a new turn in a chat above 12 MiB: 413", async () => {
    const chatId = await aChat(world);
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { ballast: "x".repeat(12_582_912) } });
    const { status, body } = await send(chatId, "more");
    expect([status, body.code]).toEqual([413, "PAYLOAD_TOO_LARGE"]);
  });
});

describe("message, when Retell fails", () => {
  it.each([401, 402, 403, 429])("%i: 503, the message is kept as failed, and the chat is free", async (status) => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "completion", { kind: "status", status, retryAfter: 9 });
    const answer = await send(chatId, "lost", {}, tenant);
    expect([answer.status, answer.body.code]).toEqual([503, "MESSAGE_SEND_FAILED"]);
    expect(answer.headers["retry-after"]).toBe(status === 429 ? "9" : undefined);

    // An account that is limited is asked again when its time has come.
    if (status === 429) vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 9_000 });
    expect((await send(chatId, "found", {}, tenant)).status).toBe(200);
    const { body } = await read(chatId, tenant);
    expect(body.data.messages.map((m: { content: string; delivery?: string }) => m.delivery)).toEqual([
      undefined,
      "failed",
      undefined,
      undefined,
    ]);
    expect(body.data.message_count).toBe(3);
  });

  it("a 4xx while the chat goes on: 503, failed at once", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "completion", { kind: "status", status: 400 });
    expect((await send(chatId, "lost", {}, tenant)).body.code).toBe("MESSAGE_SEND_FAILED");
    expect((await send(chatId, "found", {}, tenant)).status).toBe(200);
  });

  it.each([
    ["drop", {}],
    ["half", {}],
    ["garbage", { as: "html" }],
    ["garbage", { as: "truncated" }],
    ["garbage", { as: "shape" }],
    ["status", { status: 500 }],
    ["status", { status: 502 }],
  ])(
    "%s %j after Retell has acted: the reply is found in its history, and nothing is sent twice",
    async (kind, more) => {
      const tenant = await aWorld();
      const chatId = await aChat(tenant);
      await fault(tenant, "completion", { kind, ...more, effect: "before" });
      const answer = await send(chatId, "ping", {}, tenant);
      expect([answer.status, answer.body.data?.messages.length]).toEqual([200, 1]);
      expect(await userEntries(chatId)).toEqual(["ping"]);
      expect((await stored(chatId, tenant))?.internal).toMatchObject({ retellUserCount: 1 });
    },
  );

  it.each([408, 409, 425])(
    "a %i to what Retell has taken all the same is no refusal: it is sent once",
    async (status) => {
      const tenant = await aWorld();
      const chatId = await aChat(tenant);
      await fault(tenant, "completion", { kind: "status", status, effect: "before", replyAfterMs: 60_000 });
      const headers = { "idempotency-key": "once" };
      const answer = await send(chatId, "ping", { headers }, tenant);
      expect([answer.status, answer.body.details?.outcome]).toEqual([504, "unknown"]);

      await control("retell", "POST", "/clock", { advanceMs: 60_000 });
      const again = await send(chatId, "ping", { headers }, tenant);
      expect([again.status, again.headers["idempotent-replayed"]]).toEqual([200, "true"]);
      expect(await userEntries(chatId)).toEqual(["ping"]);
    },
  );

  it("a 4xx after which the history cannot be read: 503, outcome unknown, and the next reader decides", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "completion", { kind: "status", status: 400 });
    await fault(tenant, "retrieve", { kind: "status", status: 503 });
    const answer = await send(chatId, "lost", {}, tenant);
    expect([answer.status, answer.body.details.outcome]).toEqual([503, "unknown"]);
    expect((await stored(chatId, tenant))?.internal.turn).toMatchObject({ state: "unknown", refusedByRetell: true });
    expect((await send(chatId, "found", {}, tenant)).status).toBe(200);
    expect((await stored(chatId, tenant))?.messages.at(-3)).toMatchObject({ internal: { failed: true } });
  });

  it.each([400, 401, 402, 403, 404, 413, 415, 422, 429])(
    "a %i to what Retell has taken all the same is no refusal: 200, and sent once",
    async (status) => {
      const tenant = await aWorld();
      const chatId = await aChat(tenant);
      await fault(tenant, "completion", { kind: "status", status, effect: "before" });
      const answer = await send(chatId, "ping", { headers: { "idempotency-key": "once" } }, tenant);
      expect([answer.status, answer.body.data?.messages.length]).toEqual([200, 1]);
      const again = await send(chatId, "ping", { headers: { "idempotency-key": "once" } }, tenant);
      expect(again.body.data).toEqual(answer.body.data);
      expect(await userEntries(chatId)).toEqual(["ping"]);
    },
  );

  it.each([
    ["a 4xx", { kind: "status", status: 404 }, "failed"],
    ["a 500", { kind: "status", status: 500 }, "pending"],
    ["no answer", { kind: "drop" }, "pending"],
  ])(
    "%s names the message that is stored, so that the client can match what it shows",
    async (_what, kind, delivery) => {
      const tenant = await aWorld();
      const chatId = await aChat(tenant);
      await fault(tenant, "completion", kind);
      const { status, body, headers } = await send(
        chatId,
        "ping",
        { body: { content: "ping", client_message_id: "l-1" } },
        tenant,
      );
      expect(status).toBeGreaterThanOrEqual(500);
      const { messages } = (await read(chatId, tenant)).body.data;
      const { message_id, seq, client_message_id } = messages.at(-1);
      expect(messages.at(-1)).toMatchObject({ role: "user", delivery, client_message_id: "l-1" });
      expect(body.details.user_message).toEqual({ message_id, seq, client_message_id });
      if (delivery === "failed") return expect(body.details).not.toHaveProperty("settles_by");

      const waitMs = Date.parse(body.details.settles_by) - Date.now();
      const most = kind.kind === "status" ? 15_000 : 330_000;
      expect(waitMs).toBeLessThanOrEqual(most);
      expect(waitMs).toBeGreaterThan(most - 10_000);
      expect([headers["retry-after"], body.retryAfter]).toEqual(["5", 5]);
    },
  );

  it.each([
    ["an error that nobody expected", 29_000, () => Promise.reject(new Error("a bug")), "INTERNAL_ERROR", {}],
    [
      "our own timeout",
      2_020,
      () => new Promise<never>(() => {}),
      "TIMEOUT",
      { settles_by: "2026-01-01T00:00:00.000Z" },
    ],
  ])("%s names the stored message, too", async (_what, remainingMs, fail, code, more) => {
    const userMessage = { message_id: "msg_1", seq: 2 };
    const handler = publicEndpoint(routes.message).handler(({ begun }) => {
      Object.assign(begun, { userMessage, settlesBy: Date.parse("2026-01-01") });
      return fail();
    });
    const { body = "" } = await handler(eventFor("message", {}) as never, aContext(remainingMs));
    const answer = JSON.parse(body);
    expect(answer).toMatchObject({ code, details: { user_message: userMessage, ...more } });
    expect("settles_by" in answer.details).toBe(code === "TIMEOUT");
  });

  it.each(["drop", "half", "garbage"])(
    "%s without an effect: 504 with an unknown outcome, and the chat waits",
    async (kind) => {
      const tenant = await aWorld();
      const chatId = await aChat(tenant);
      await fault(tenant, "completion", { kind });
      const answer = await send(chatId, "ping", {}, tenant);
      expect([answer.status, answer.body.code]).toEqual([504, "MESSAGE_SEND_FAILED"]);
      expect(answer.body.details).toMatchObject({ outcome: "unknown", turnId: expect.any(String) });

      const { body } = await read(chatId, tenant);
      expect(body.data.messages.at(-1)).toMatchObject({ content: "ping", delivery: "pending" });
      expect((await send(chatId, "again", {}, tenant)).body.code).toBe("CHAT_BUSY");
      expect(await userEntries(chatId)).toEqual([]);
    },
  );

  it("a reply that comes after we gave up is found by the next read", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "completion", { kind: "late", ms: 60_000 });
    const answer = await send(chatId, "ping", { remainingMs: 5_300 }, tenant);
    expect(answer.body.details.outcome).toBe("unknown");

    await control("retell", "POST", "/clock", { advanceMs: 60_000 });
    const { body } = await read(chatId, tenant);
    expect(body.data.messages.map((m: { role: string; delivery?: string }) => [m.role, m.delivery])).toEqual([
      ["agent", undefined],
      ["user", undefined],
      ["agent", undefined],
    ]);
    expect((await send(chatId, "next", {}, tenant)).status).toBe(200);
  });

  it("asks Retell once for one message, whatever happens", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "completion", { kind: "status", status: 500 });
    await send(chatId, "ping", {}, tenant);
    expect((await control("retell", "GET", `/requests?step=completion&chat_id=${chatId}`)).requests).toHaveLength(1);
  });
});
