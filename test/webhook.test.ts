import "./support/own-retell.ts";
import { ObjectId } from "mongodb";
import { sign, symmetric } from "retell-sdk/lib/webhook_auth";
import { describe, expect, it } from "vitest";
import { toEvent } from "../dev/event.ts";
import { handler } from "../functions/webhook.ts";
import { encrypt } from "../lib/platform/crypto.ts";
import { sweepLater } from "./support/chats.ts";
import { linesOf } from "./support/instance.ts";
import { aChat, aContext, aWorld, call, central, control, fault, type World } from "./support/world.ts";

const world = await aWorld();

type Chat = Record<string, unknown>;

/** Delivers a body as Retell would; `header` replaces the good signature. */
async function deliver(
  where: World,
  body: string | Buffer,
  { header, key = where.apiKey }: { header?: string; key?: string } = {},
) {
  const event = toEvent({
    method: "POST",
    target: `/api/webhooks/retell/${where.subaccountId}`,
    headers: {
      "content-type": "application/json",
      "x-retell-signature": header ?? (await sign(body.toString(), key)),
    },
    body,
  });
  const { statusCode, body: text } = await handler(event, aContext());
  return { status: statusCode, body: JSON.parse(text ?? "") };
}

const tell = (where: World, event: string, chat: Chat, options = {}) =>
  deliver(where, JSON.stringify({ event, chat }), options);

/** The chat as Retell would send it. */
async function atRetell(where: World, chatId: string): Promise<Chat> {
  const answer = await fetch(`${process.env.RETELL_BASE_URL}/get-chat/${chatId}`, {
    headers: { authorization: `Bearer ${where.apiKey}` },
  });
  return (await answer.json()) as Chat;
}

const stored = (where: World, chatId: string) => where.db.collection("chats").findOne({ chat_id: chatId });
const send = (where: World, chatId: string, content: string, more: object = {}) =>
  call("message", { token: where.owner.token, subaccountId: where.subaccountId, chatId, body: { content }, ...more });

describe("a webhook", () => {
  it("ends a chat that ended without us, with all that was said", async () => {
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, {
      add: [
        { role: "user", content: "from the dashboard" },
        { role: "agent", content: "bye" },
      ],
      status: "ended",
    });
    const { status, body } = await tell(world, "chat_ended", await atRetell(world, chatId));
    expect([status, body.data]).toEqual([200, { received: true }]);
    const chat = await stored(world, chatId);
    expect(chat).toMatchObject({ chat_status: "ended", message_count: 3, end_timestamp: expect.any(Number) });
    expect(chat?.transcript).toContain("User: from the dashboard");
  });

  it("brings the analysis, and a late or repeated chat_ended or chat_started takes nothing away", async () => {
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    const { chat_analysis: _, chat_cost: __, ...ended } = await atRetell(world, chatId);
    const analyzed = {
      ...ended,
      chat_cost: { combined_cost: 3 },
      chat_analysis: { chat_summary: "short", chat_successful: true },
    };
    await tell(world, "chat_analyzed", analyzed); // before chat_ended
    await sweepLater(world, chatId);
    const after = await stored(world, chatId);
    expect(after).toMatchObject({
      chat_status: "ended",
      chat_analysis: { chat_summary: "short" },
      chat_cost: { combined_cost: 3 },
    });
    expect(after?.internal.nextSweepAt).toBeUndefined();

    for (const [event, chat] of [
      ["chat_ended", { ...ended, chat_cost: { combined_cost: 1 } }],
      ["chat_analyzed", analyzed],
      ["chat_started", { ...ended, chat_status: "ongoing" }],
    ] as const) {
      expect((await tell(world, event, chat)).status).toBe(200);
      expect(await stored(world, chatId)).toEqual(after);
    }
  });

  it("brings what the chat has collected, too, where its end was stored without", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await send(tenant, chatId, "I want a refund");
    await fault(tenant, "retrieve", { kind: "status", status: 503 });
    await call("end", { token: tenant.owner.token, subaccountId: tenant.subaccountId, chatId });
    expect(await stored(tenant, chatId)).toMatchObject({ chat_status: "ended", collected_dynamic_variables: {} });

    const told = await atRetell(tenant, chatId);
    await tell(tenant, "chat_ended", told);
    const collected = { refund: "started" };
    expect((await stored(tenant, chatId))?.collected_dynamic_variables).toEqual(collected);
    const later = { collected_dynamic_variables: { refund: "again", order: "1042" } };
    await tell(tenant, "chat_analyzed", { ...told, ...later }); // of two values that differ nobody knows the newer
    expect((await stored(tenant, chatId))?.collected_dynamic_variables).toEqual({ ...collected, order: "1042" });
  });

  it("settles a send whose outcome was unknown, and says so under that send's operationId", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "completion", { kind: "late", ms: 60_000 });
    const lost = await send(tenant, chatId, "ping", { remainingMs: 5_300 });
    expect(lost.status).toBe(504);
    await control("retell", "POST", "/clock", { advanceMs: 60_000 });
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    await tell(tenant, "chat_ended", await atRetell(tenant, chatId));

    const chat = await stored(tenant, chatId);
    expect(chat?.messages.map((m: { role: string }) => m.role)).toEqual(["agent", "user", "agent"]);
    expect(chat?.internal.turn).toBeUndefined();
    const line = linesOf(lost.body.meta.operationId).find(({ message }) => message === "Turn settled");
    expect(line).toMatchObject({ outcome: "delivered", turnId: lost.body.details.turnId });
  });

  it("ends a chat beside a send that is running, and leaves the send its turn", async () => {
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "latency", ms: 300, chat_id: chatId });
    const sending = send(world, chatId, "ping");
    await control("retell", "GET", `/requests?step=completion&chat_id=${chatId}&atLeast=1`);
    await tell(world, "chat_ended", { ...(await atRetell(world, chatId)), chat_status: "ended" });
    expect((await stored(world, chatId))?.internal.turn?.state).toBe("sending");
    const sent = await sending;
    expect([sent.status, sent.body.data.chat_status]).toEqual([200, "ended"]);
  });

  it("forgets what is cached of the chat", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    const where = { token: tenant.owner.token, subaccountId: tenant.subaccountId };
    await call("end", { ...where, chatId });
    await call("transcript", { ...where, chatId });
    await call("list", where);
    const analyzed = { ...(await atRetell(tenant, chatId)), chat_analysis: { chat_summary: "new" } };
    await tell(tenant, "chat_analyzed", analyzed);
    expect((await call("transcript", { ...where, chatId })).body.data.chat_analysis.chat_summary).toBe("new");
  });

  it.each([
    ["an unknown event", { event: "chat_dreamt", chat: { chat_id: "c", agent_id: "a", chat_status: "ended" } }],
    ["a voice event", { event: "call_ended", call: { call_id: "x" } }],
    [
      "a chat that is not ours",
      { event: "chat_ended", chat: { chat_id: "chat_nobodys", agent_id: "a", chat_status: "ended" } },
    ],
    ["a chat of another shape", { event: "chat_ended", chat: { chat_id: 7 } }],
    ["no event", {}],
    ["a list", []],
  ])("takes %s for good: 200, and nothing changes", async (_name, body) => {
    const before = await world.db.collection("chats").countDocuments();
    const answer = await deliver(world, JSON.stringify(body));
    expect(answer.status).toBe(200);
    expect(linesOf(answer.body.meta.operationId).at(-1)?.outcome).toMatch(/^(unknown chat|nothing to do)$/);
    expect(await world.db.collection("chats").countDocuments()).toBe(before);
  });

  it("says in its log line what it was and what became of it, so that unknown chats can be counted", async () => {
    const chatId = await aChat(world);
    const known = { ...(await atRetell(world, chatId)), chat_status: "ended" };
    const answers = [
      await tell(world, "chat_ended", known),
      await tell(world, "chat_analyzed", { ...known, chat_id: "chat_nobodys" }),
      await tell(world, "chat_started", known),
    ];
    const lines = answers.map(({ body }) => linesOf(body.meta.operationId).at(-1));
    expect(lines.map((line) => [line?.event, line?.outcome])).toEqual([
      ["chat_ended", "taken in"],
      ["chat_analyzed", "unknown chat"],
      ["chat_started", "nothing to do"],
    ]);
  });

  it("of another tenant's chat changes nothing, though it is signed", async () => {
    const other = await aWorld();
    const chatId = await aChat(other);
    await tell(world, "chat_ended", { ...(await atRetell(other, chatId)), chat_status: "ended" });
    expect((await stored(other, chatId))?.chat_status).toBe("ongoing");
  });

  it("is read from base64 before it is verified", async () => {
    const chatId = await aChat(world);
    const body = JSON.stringify({
      event: "chat_ended",
      chat: { ...(await atRetell(world, chatId)), chat_status: "ended" },
    });
    const event = toEvent({
      method: "POST",
      target: `/api/webhooks/retell/${world.subaccountId}`,
      headers: { "x-retell-signature": await sign(body, world.apiKey) }, // no content type: API Gateway encodes it
      body,
    });
    expect(event.isBase64Encoded).toBe(true);
    expect((await handler(event, aContext())).statusCode).toBe(200);
    expect((await stored(world, chatId))?.chat_status).toBe("ended");
  });
});

describe("a webhook's signature", () => {
  const body = '{"event":"chat_ended"}';

  it("is the one of the SDK's test vector", async () => {
    const signed = await symmetric.sign('{"event":"call_ended"}', "test-api-key", 1_700_000_000_000);
    expect(signed).toContain("07024cabe7dd8f6d1c6e4a8324ca92c812e6ad4a7ee506c04f7e462e3321823e");
  });

  it("may be by either of two webhook keys during a rotation, and then no longer by the API key", async () => {
    const tenant = await aWorld();
    const keys = await Promise.all(["old_key", "new_key"].map((key) => encrypt(key, tenant.subaccountId)));
    await central
      .collection("retellaccounts")
      .updateOne({ subaccountId: new ObjectId(tenant.subaccountId) }, { $set: { webhookKeys: keys } });
    expect((await deliver(tenant, body, { key: "old_key" })).status).toBe(200);
    expect((await deliver(tenant, body, { key: "new_key" })).status).toBe(200);
    expect((await deliver(tenant, body)).status).toBe(401);
  });

  const now = () => Date.now();
  const by = async (key: string, at: number, text = body) => symmetric.sign(text, key, at);
  it.each<[string, () => Promise<string> | string, string?]>([
    ["missing", () => ""],
    ["of another form", () => "nonsense"],
    ["by another key", () => by("key_other", now())],
    ["six minutes old", () => by(world.apiKey, now() - 360_000)],
    ["six minutes ahead", () => by(world.apiKey, now() + 360_000)],
    ["with the time changed", async () => (await by(world.apiKey, now() - 360_000)).replace(/v=\d+/, `v=${now()}`)],
    ["truncated", async () => (await by(world.apiKey, now())).slice(0, -1)],
    ["of the same JSON written otherwise", () => by(world.apiKey, now(), '{ "event": "chat_ended" }')],
    ["of a longer body", () => by(world.apiKey, now(), `${body} `)],
  ])("is refused when it is %s: 401 INVALID_SIGNATURE", async (_name, header) => {
    const answer = await deliver(world, body, { header: await header() });
    expect([answer.status, answer.body.code]).toEqual([401, "INVALID_SIGNATURE"]);
  });

  it("is refused in the same words for a subaccount that does not exist, has no active account, or is no id", async () => {
    const places = [
      { ...world, subaccountId: new ObjectId().toHexString() },
      { ...world, subaccountId: "nope" },
      await aWorld({ account: null }),
      await aWorld({ account: { isActive: false } }),
    ];
    const answers = await Promise.all(places.map((place) => deliver(place, body)));
    for (const answer of answers) {
      expect([answer.status, answer.body.code, answer.body.message]).toEqual([
        401,
        "INVALID_SIGNATURE",
        "The signature is not valid",
      ]);
    }
  });

  it.each([
    ["its API key does not open", { account: { apiKey: "v2.a.b.c.d" } }],
    ["a webhook key does not open", { account: { webhookKeys: ["v2.a.b.c.d"] } }],
    ["its account is malformed", { account: { apiKey: 7 } }],
  ])("is refused in the same words where %s, which only our log knows", async (_name, how) => {
    const { status, body: answer } = await deliver(await aWorld(how), body);
    expect([status, answer.code, answer.message]).toEqual([401, "INVALID_SIGNATURE", "The signature is not valid"]);
    expect(linesOf(answer.meta.operationId)).toMatchObject([{ level: "ERROR" }, { level: "INFO", status: 401 }]);
  });

  it("comes first: that a database's address does not open, only Retell is told", async () => {
    const broken = await aWorld({ subaccount: { mongodbUrl: "v2.a.b.c.d" } });
    const [forged, signed] = [await deliver(broken, body, { key: "key_other" }), await deliver(broken, body)];
    expect([forged.status, forged.body.code]).toEqual([401, "INVALID_SIGNATURE"]);
    expect([signed.status, signed.body.code]).toEqual([503, "CONNECTION_FAILED"]);
  });
});
