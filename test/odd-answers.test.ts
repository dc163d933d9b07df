import "./support/own-retell.ts";
import { sign } from "retell-sdk/lib/webhook_auth";
import { afterEach, describe, expect, it, vi } from "vitest";
import { aChatBy, anInstance, aWire, logOf, owned, verdict } from "./support/wire.ts";
import { aWorld, control, fault, type Request, type Response, type World } from "./support/world.ts";

const unknown = { outcome: "unknown", settles_by: expect.any(String) };

const wire = await aWire();
const instance = await anInstance();

afterEach(async () => {
  vi.useRealTimers();
  await wire.heal();
  await control("retell", "DELETE", "/faults");
});

interface Tenant {
  world: World;
  request: Request & { chatId: string };
}

async function aTenant(): Promise<Tenant> {
  const world = await aWorld();
  return { world, request: { ...owned(world), chatId: await aChatBy(instance, world) } };
}

const odd = (world: World, step: string, as: string, more: object = {}) =>
  fault(world, step, { kind: "garbage", as, ...more });
const always = { count: 0 };
const strong = (request: Request): Request => ({ ...request, query: { consistency: "strong" } });
const send = ({ request }: Tenant) => instance.call("message", { ...request, body: { content: "ping" } });
const chatsAtRetell = async ({ apiKey }: World): Promise<{ chat_id: string; status: string }[]> =>
  (await control("retell", "GET", `/chats?key=${apiKey}`)).chats;

/** What its one warning names as unreadable. */
const warned = (answer: Response): unknown[] =>
  logOf(answer, "WARN").flatMap(
    ({ message }) => /^Retell sent what could not be read: (.*)/.exec(String(message))?.[1] ?? [],
  );

async function end({ request }: Tenant): Promise<void> {
  await control("retell", "PATCH", `/chats/${request.chatId}`, { status: "ended" });
}

describe("a create is a chat, whatever else is odd in its answer:", () => {
  it.each([
    ["statusRegistered", "chat_status"],
    ["statusCompleted", "chat_status"],
    ["nullStatus", "chat_status"],
    ["noStatus", "chat_status"],
    ["nullAgentId", "agent_id"],
    ["noAgentId", "agent_id"],
    ["historyObject", "message_with_tool_calls"],
    ["historyText", "message_with_tool_calls"],
    ["timesUnreadable", "start_timestamp, message_with_tool_calls[].created_timestamp"],
  ])("%s", async (as, path) => {
    const world = await aWorld();
    await odd(world, "create", as);
    const answer = await instance.call("create", { ...owned(world), body: { agentId: world.agentId } });
    expect(verdict(answer)).toEqual([200, undefined]);
    expect(answer.body.data).toMatchObject({ chat_status: "ongoing", agent_id: world.agentId });
    expect(Math.abs(answer.body.data.start_timestamp - Date.now())).toBeLessThan(60_000);
    expect(warned(answer)).toEqual([path]);

    const sent = await send({ world, request: { ...owned(world), chatId: answer.body.data.chat_id } });
    expect(verdict(sent)).toEqual([200, undefined]);
  });

  it("without a chat_id it is unknown, and its repeat finds the chat", async () => {
    const world = await aWorld();
    const create = { ...owned(world), headers: { "idempotency-key": "k1" }, body: { agentId: world.agentId } };
    await odd(world, "create", "noChatId");
    const answer = await instance.call("create", create);
    expect([...verdict(answer), answer.body.details]).toEqual([504, "TIMEOUT", unknown]);
    expect(verdict(await instance.call("create", create))).toEqual([200, undefined]);
    expect(await chatsAtRetell(world)).toHaveLength(1);
  });
});

describe("a chat that only Retell knows is found in a list with", () => {
  it.each([
    ["nullPaginationKey", []],
    ["nullHasMore", []],
    ["itemWithoutId", ["items[].chat_id"]],
    ["nullItem", ["items[]"]],
  ])("%s", async (as, paths) => {
    const world = await aWorld();
    const create = { ...owned(world), headers: { "idempotency-key": "k1" }, body: { agentId: world.agentId } };
    await fault(world, "create", { kind: "drop", effect: "before" });
    expect(verdict(await instance.call("create", create))).toEqual([504, "TIMEOUT"]);
    await odd(world, "list", as);
    const again = await instance.call("create", create);
    expect([...verdict(again), again.headers["idempotent-replayed"]]).toEqual([200, undefined, "true"]);
    expect(warned(again)).toEqual(paths);
    expect((await chatsAtRetell(world)).map(({ chat_id }) => chat_id)).toEqual([again.body.data.chat_id]);
  });
});

describe("get-chat of a chat that is over", () => {
  it.each([
    ["statusRegistered", "ended"],
    ["statusCompleted", "ended"],
    ["nullStatus", "ended"],
    ["noStatus", "ended"],
    ["nullAgentId", "ended"],
    ["historyObject", "ended"],
    ["historyText", "ended"],
    ["nullEntry", "ended"],
    ["entryWithoutRole", "ended"],
    ["gzipX", "ended"],
    ["timesIso", "ended"],
  ])("says so, with %s", async (as, status) => {
    const tenant = await aTenant();
    await end(tenant);
    await odd(tenant.world, "retrieve", as);
    const answer = await instance.call("transcript", strong(tenant.request));
    expect([...verdict(answer), answer.body.data?.chat_status]).toEqual([200, undefined, status]);
    expect(answer.body.data.messages).toHaveLength(1);
  });

  it("says nothing with a status that nobody knows and no time of its end", async () => {
    const world = await aWorld({ agentId: `agent_${crypto.randomUUID()}` });
    await control("retell", "PUT", `/agents/${world.agentId}`, { endTimestamp: "missing" });
    const tenant = { world, request: { ...owned(world), chatId: await aChatBy(instance, world) } };
    await end(tenant);
    await odd(world, "retrieve", "statusCompleted");
    const read = () => instance.call("transcript", strong(tenant.request));
    expect((await read()).body.data.chat_status).toBe("ongoing");
    expect((await read()).body.data.chat_status).toBe("ended");
  });

  it.each(["otherChatId", "noChatId", "gzipTruncated", "gzipBomb", "encodingUnknown"])(
    "is not read where it is %s",
    async (as) => {
      const tenant = await aTenant();
      await end(tenant);
      await odd(tenant.world, "retrieve", as);
      const answer = await instance.call("transcript", strong(tenant.request));
      expect(verdict(answer)).toEqual([503, "CHAT_RETRIEVE_FAILED"]);
      const stored = await tenant.world.db.collection("chats").findOne({ chat_id: tenant.request.chatId });
      expect(stored?.chat_status).toBe("ongoing");
    },
  );
});

describe("times of Retell's are read as", () => {
  it.each(["timesFloat", "timesSeconds", "timesMicros", "timesNanos", "timesText", "timesIso"])("%s", async (as) => {
    const tenant = await aTenant();
    await end(tenant);
    const { end_timestamp, entries } = await control("retell", "GET", `/chats/${tenant.request.chatId}`);
    await tenant.world.db
      .collection("chats")
      .updateOne({ chat_id: tenant.request.chatId }, { $set: { messages: [], "internal.retellUserCount": 0 } });
    await odd(tenant.world, "retrieve", as);
    const { body } = await instance.call("transcript", strong(tenant.request));
    expect([body.data.end_timestamp, body.data.messages[0]?.created_timestamp]).toEqual([
      end_timestamp,
      entries[0].created_timestamp,
    ]);
  });
});

describe("a completion", () => {
  it.each([
    "gzip",
    "gzipCapitals",
    "gzipX",
    "gzipTwice",
    "gzipWithIdentity",
    "gzipMislabelled",
    "deflate",
    "brotli",
    "byteOrderMark",
    "charsetLatin",
    "typeText",
  ])("is read where it is sent as %s, and asked for once", async (as) => {
    const tenant = await aTenant();
    await odd(tenant.world, "completion", as);
    const calls = await wire.callsTo("retell", async () => {
      const answer = await send(tenant);
      expect(verdict(answer)).toEqual([200, undefined]);
      expect(answer.body.data.messages[0].content).toContain("ping");
    });
    expect(calls).toEqual(["POST /create-chat-completion"]);
  });

  it.each(["gzipEmpty", "gzipTruncated", "gzipBomb", "encodingUnknown", "messagesObject", "noMessages"])(
    "that cannot be read (%s) is looked up in the history",
    async (as) => {
      const tenant = await aTenant();
      await odd(tenant.world, "completion", as);
      const answer = await send(tenant);
      expect([...verdict(answer), answer.body.data?.messages.length]).toEqual([200, undefined, 1]);
    },
  );

  it.each(["messagesObject", "gzipTruncated"])("that cannot be read (%s), nor the history, is unknown", async (as) => {
    const tenant = await aTenant();
    await odd(tenant.world, "completion", as);
    await fault(tenant.world, "retrieve", { kind: "drop" });
    const answer = await send(tenant);
    expect([...verdict(answer), answer.body.details?.outcome]).toEqual([504, "MESSAGE_SEND_FAILED", "unknown"]);
  });
});

describe("status and headers of Retell's count where its body cannot be read:", () => {
  it.each(["gzipEmpty", "gzipTruncated", "gzipMislabelled", "gzipBomb", "encodingUnknown"])(
    "a 429 with %s",
    async (as) => {
      const tenant = await aTenant();
      vi.useFakeTimers({ toFake: ["Date"] });
      await fault(tenant.world, "retrieve", { kind: "status", status: 429, retryAfter: 7, as });
      const answer = await instance.call("transcript", strong(tenant.request));
      expect([...verdict(answer), answer.headers["retry-after"]]).toEqual([503, "CHAT_RETRIEVE_FAILED", "7"]);
    },
  );

  it.each([402, 422])("a %i without a body", async (status) => {
    const tenant = await aTenant();
    await fault(tenant.world, "completion", { kind: "status", status, as: "gzipEmpty" });
    const answer = await send(tenant);
    expect([...verdict(answer), answer.body.details.outcome]).toEqual([503, "MESSAGE_SEND_FAILED", undefined]);
    expect(logOf(answer, "ERROR")).toMatchObject([{ retellStatus: status }]);
  });

  it("a 204 that says it is compressed", async () => {
    const tenant = await aTenant();
    await odd(tenant.world, "end", "gzipEmpty");
    const answer = await instance.call("end", tenant.request);
    expect([...verdict(answer), answer.body.data?.chat_status]).toEqual([200, undefined, "ended"]);
    expect(logOf(answer, "WARN")).toEqual([]);
  });
});

describe("how long a 429 asks to wait is read in all of its forms:", () => {
  const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1_000);
  it.each<[string, () => object, number]>([
    ["seconds", () => ({ retryAfter: 7 }), 7],
    ["a fraction", () => ({ retryAfter: "6.2" }), 7],
    ["an HTTP date", () => ({ retryAfter: inSeconds(30).toUTCString() }), 30],
    ["an HTTP date that is past", () => ({ retryAfter: inSeconds(-30).toUTCString() }), 1],
    ["an HTTP date far away", () => ({ retryAfter: inSeconds(3_600).toUTCString() }), 60],
    ["ISO text", () => ({ retryAfter: inSeconds(30).toISOString() }), 30],
    ["epoch seconds", () => ({ retryAfter: inSeconds(30).getTime() / 1_000 }), 30],
    ["retry-after-ms", () => ({ retryAfterMs: 12_000 }), 12],
    ["retry-after-ms, before the other", () => ({ retryAfterMs: 12_000, retryAfter: 50 }), 12],
    ["seconds, twice", () => ({ retryAfter: "30, 30" }), 30],
    ["seconds in quotes", () => ({ retryAfter: '"30"' }), 30],
    ["seconds with their unit", () => ({ retryAfter: "30s" }), 30],
    ["words", () => ({ retryAfter: "soon" }), 1],
    ["nothing", () => ({}), 1],
    ["a negative number", () => ({ retryAfter: "-5" }), 1],
  ])("%s", async (_what, headers, seconds) => {
    const tenant = await aTenant();
    vi.useFakeTimers({ toFake: ["Date"], now: Math.ceil(Date.now() / 1_000) * 1_000 });
    await fault(tenant.world, "retrieve", { kind: "status", status: 429, ...headers() });
    const answer = await instance.call("transcript", strong(tenant.request));
    expect([...verdict(answer), answer.headers["retry-after"]]).toEqual([503, "CHAT_RETRIEVE_FAILED", String(seconds)]);
  });
});

describe("integers that a double cannot hold stay text", () => {
  const expected = {
    chat_analysis: { custom_analysis_data: { order: "12345678901234567890", page: "17841400008460057" } },
    collected_dynamic_variables: { order: "12345678901234567890" },
  };

  it("in get-chat", async () => {
    const tenant = await aTenant();
    await end(tenant);
    await odd(tenant.world, "retrieve", "largeIntegers");
    const { body } = await instance.call("transcript", strong(tenant.request));
    expect(body.data).toMatchObject(expected);
  });

  it("in a webhook", async () => {
    const tenant = await aTenant();
    await end(tenant);
    await odd(tenant.world, "retrieve", "largeIntegers", always);
    const { world, request } = tenant;
    const body = `{"event":"chat_analyzed","chat":{"chat_id":"${request.chatId}","agent_id":"a","chat_status":"ended",
      "chat_analysis":{"custom_analysis_data":{"order":12345678901234567890,"page":17841400008460057,"ratio":0.1234567890123456}},
      "collected_dynamic_variables":{"order":12345678901234567890}}}`;
    expect(verdict(await deliver(tenant, body))).toEqual([200, undefined]);
    const stored = await world.db.collection("chats").findOne({ chat_id: request.chatId });
    expect(stored).toMatchObject(expected);
  });
});

async function deliver({ world, request }: Tenant, body: string): Promise<Response> {
  const headers = { "x-retell-signature": await sign(body, world.apiKey) };
  return instance.call("webhook", { subaccountId: request.subaccountId ?? "", body, headers });
}

describe("a webhook of the end is one, whatever is odd in its chat:", () => {
  it.each<[string, object, unknown[]]>([
    ["an unknown status", { chat_status: "registered" }, ["chat.chat_status"]],
    ["no status", { chat_status: undefined }, ["chat.chat_status"]],
    ["no agent", { agent_id: null }, ["chat.agent_id"]],
    ["a history that is none", { message_with_tool_calls: {} }, ["chat.message_with_tool_calls"]],
    ["a null for each field", { agent_id: "a", transcript: null, chat_cost: null, message_with_tool_calls: null }, []],
    ["wrong types", { transcript: 1, chat_cost: [] }, ["chat.transcript, chat.chat_cost"]],
  ])("%s", async (_what, fields, paths) => {
    const tenant = await aTenant();
    await end(tenant);
    const chat = { chat_id: tenant.request.chatId, agent_id: "a", chat_status: "ended", end_timestamp: Date.now() };
    const answer = await deliver(tenant, JSON.stringify({ event: "chat_ended", chat: { ...chat, ...fields } }));
    expect(verdict(answer)).toEqual([200, undefined]);
    expect(warned(answer)).toEqual(paths);
    const stored = await tenant.world.db.collection("chats").findOne({ chat_id: tenant.request.chatId });
    expect(stored?.chat_status).toBe("ended");
  });

  it("a byte order mark before its JSON", async () => {
    const tenant = await aTenant();
    await end(tenant);
    const chat = { chat_id: tenant.request.chatId, agent_id: "a", chat_status: "ended" };
    await deliver(tenant, `\uFEFF${JSON.stringify({ event: "chat_ended", chat })}`);
    const stored = await tenant.world.db.collection("chats").findOne({ chat_id: tenant.request.chatId });
    expect(stored?.chat_status).toBe("ended");
  });
});

describe("an error of what stands between is no answer of Retell's:", () => {
  it.each([408, 409, 418, 423, 424, 425, 451, 499, 502, 599])("%i, and nothing to read", async (status) => {
    const tenant = await aTenant();
    await fault(tenant.world, "completion", { kind: "status", status });
    await fault(tenant.world, "retrieve", { kind: "drop" });
    const answer = await send(tenant);
    expect([...verdict(answer), answer.body.details?.outcome]).toEqual([504, "MESSAGE_SEND_FAILED", "unknown"]);
  });
});
