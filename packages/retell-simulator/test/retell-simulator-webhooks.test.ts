import { symmetric } from "retell-sdk/lib/webhook_auth";
import { describe, expect, test } from "vitest";
import { eventsOf, isSigned } from "./support/receiver.ts";
import { aChat, anotherReceiver, chats, deliveries, receiver, retell, say, webhook } from "./support/webhooks.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const ALL = ["chat_started", "chat_ended", "chat_analyzed"];

describe("what is told", () => {
  test("may be odd, and is signed as it is sent", async () => {
    await webhook({ odd: ["nullAgentId", "largeIntegers"], events: ["chat_started"] });
    await aChat();
    const [told] = await receiver.arrived(1);
    expect([told?.chat.agent_id, told && (await isSigned(told))]).toEqual([null, true]);
    expect(told?.raw).toContain('"order":12345678901234567890');
  });

  test("a chat's events come in their order, each with what is known by then", async () => {
    await webhook();
    const chat_id = await aChat("agent_shop", {
      metadata: { tenant: "t1" },
      retell_llm_dynamic_variables: { customer_name: "Ada" },
    });
    await say(chat_id, "ping");
    await chats.end(chat_id);
    await retell.advance(4_000);
    const told = await receiver.arrived(3);
    expect(eventsOf(told)).toEqual(ALL);

    const [started, ended, analyzed] = told.map(({ chat }) => chat);
    const basics = {
      chat_id,
      agent_id: "agent_shop",
      metadata: { tenant: "t1" },
      retell_llm_dynamic_variables: { customer_name: "Ada" },
    };
    expect(started).toMatchObject({ ...basics, chat_status: "ongoing" });
    for (const field of ["transcript", "message_with_tool_calls", "chat_analysis"]) {
      expect(started).not.toHaveProperty(field);
    }
    expect(ended).toMatchObject({
      ...basics,
      chat_status: "ended",
      end_timestamp: expect.any(Number),
      transcript: expect.stringContaining("User: ping\n"),
      message_with_tool_calls: [{ role: "agent" }, { role: "user" }, { role: "agent" }],
    });
    expect(ended).not.toHaveProperty("chat_analysis");
    expect(analyzed).toEqual(await chats.retrieve(chat_id));
    expect(analyzed).toMatchObject({ chat_analysis: { chat_successful: true }, chat_cost: expect.anything() });
  });

  test("the order holds though one follows the other at once, and many chats end together", async () => {
    await retell.agent("agent_quick", { analysisDelayMs: 0 });
    await webhook();
    const ids = await Promise.all(Array.from({ length: 50 }, () => aChat("agent_quick")));
    await Promise.all(ids.map((chat_id) => chats.end(chat_id)));
    const told = await receiver.arrived(150);
    for (const id of ids) expect(eventsOf(told.filter(({ chat_id }) => chat_id === id))).toEqual(ALL);
  });

  test("metadata and variables that were never set are left out", async () => {
    await webhook();
    await chats.end(await aChat());
    for (const { chat } of await receiver.arrived(2)) {
      expect(chat).not.toHaveProperty("metadata");
      expect(chat).not.toHaveProperty("retell_llm_dynamic_variables");
    }
  });

  test("an agent that stores no history tells it all the same: nobody else has it", async () => {
    await webhook();
    const chat_id = await aChat("agent_private");
    await say(chat_id, "ping");
    await chats.end(chat_id);
    await retell.advance(4_000);
    expect(await chats.retrieve(chat_id)).not.toHaveProperty("transcript");
    for (const { chat } of (await receiver.arrived(3)).slice(1)) {
      expect(chat).toMatchObject({
        transcript: expect.stringContaining("User: ping\n"),
        message_with_tool_calls: [{}, { content: "ping" }, {}],
      });
    }
  });

  test("a chat that closes by silence, or fails, is told to have ended; an analysis that is run again, once more", async () => {
    await webhook();
    const silent = await aChat();
    await retell.advance(HOUR_MS);
    const broken = await aChat();
    await say(broken, "crash");
    expect(await deliveries(1, `&chat_id=${silent}&event=chat_ended`)).toHaveLength(1);
    const [ended] = await deliveries(1, `&chat_id=${broken}&event=chat_ended`);
    expect(ended).toMatchObject({ body: { chat: { chat_status: "error" } } });
    await retell.advance(4_000);
    await chats.rerunAnalysis(broken);
    await retell.advance(4_000);
    const again = await deliveries(2, `&chat_id=${broken}&event=chat_analyzed`);
    expect(again[1]).toMatchObject({
      body: { chat: { chat_analysis: { chat_summary: expect.stringContaining("no. 2") } } },
    });
  });

  test("only the events that were asked for, and only the workspace's own", async () => {
    await webhook({ events: ["chat_ended"] });
    await webhook({ events: ["chat_started"] }, "key_two");
    await chats.end(await aChat());
    await receiver.arrived(1);
    await retell.sdk("key_two").create({ agent_id: "agent_shop" });
    await retell.sdk("key_three").create({ agent_id: "agent_shop" });
    await chats.end(await aChat());
    expect(eventsOf(await receiver.arrived(3))).toEqual(["chat_ended", "chat_started", "chat_ended"]);
    expect(await deliveries(1, "&key=key_two")).toMatchObject([{ key: "key_two", event: "chat_started" }]);
  });

  test("an agent's own URL replaces the workspace's, and needs none", async () => {
    const own = await anotherReceiver();
    await retell.agent("agent_own", { webhook_url: own.url });
    await aChat("agent_own");
    await webhook({ signingKeys: ["key_badge"] });
    await aChat("agent_own");
    await aChat();
    expect(await receiver.arrived(1)).toMatchObject([{ chat: { agent_id: "agent_shop" } }]);
    const [bare, badged] = await own.arrived(2);
    expect(bare && (await isSigned(bare, "key_one"))).toBe(true);
    expect(badged && (await isSigned(badged, "key_badge"))).toBe(true);
  });
});

describe("signatures", () => {
  test("are the SDK's own, over the raw body", async () => {
    expect(await symmetric.sign('{"event":"call_ended"}', "test-api-key", 1_700_000_000_000)).toBe(
      "v=1700000000000,d=07024cabe7dd8f6d1c6e4a8324ca92c812e6ad4a7ee506c04f7e462e3321823e",
    );
    await webhook();
    await aChat("agent_shop", { metadata: { name: "Zoë 🦊" } });
    const [told] = await receiver.arrived(1);
    if (!told) throw new Error("nothing came");
    expect(told.contentType).toBe("application/json");
    expect(told.signature).toMatch(/^v=\d{13},d=[0-9a-f]{64}$/);
    expect(await isSigned(told)).toBe(true);
    expect(await isSigned(told, "key_two")).toBe(false);
    expect(await isSigned({ ...told, raw: told.raw.replace("Zoë", "Zoe") })).toBe(false);
  });

  test("are of the real time, however far the clock was pushed", async () => {
    await webhook();
    await aChat();
    await retell.advance(100 * HOUR_MS);
    for (const told of await receiver.arrived(3)) expect(await isSigned(told)).toBe(true);
  });

  test("are by the first signing key of the moment, also those of a retry", async () => {
    await webhook({ signingKeys: ["key_old"], retryDelayMs: MINUTE_MS });
    receiver.answers.push(500);
    await aChat();
    await deliveries(1);
    await webhook({ signingKeys: ["key_new", "key_old"] });
    await retell.advance(MINUTE_MS);
    const [first, second] = await receiver.arrived(2);
    expect(first && (await isSigned(first, "key_old"))).toBe(true);
    expect(second && (await isSigned(second, "key_new"))).toBe(true);
  });
});

describe("retries", () => {
  test("whatever is no 2xx is tried again with the same body, until it is", async () => {
    await webhook();
    receiver.answers.push(500, 302, 404, 299);
    await aChat();
    expect(await deliveries(4)).toMatchObject(
      [500, 302, 404, 299].map((status, n) => ({ event: "chat_started", attempt: n + 1, status })),
    );
    const told = await receiver.arrived(4);
    expect(new Set(told.map(({ raw }) => raw)).size).toBe(1);
    for (const each of told) expect(await isSigned(each)).toBe(true);
  });

  test("after three retries it is given up, and after a success at once", async () => {
    await webhook({ retryDelayMs: MINUTE_MS });
    receiver.answers.push(503, 503, 503, 503, 204);
    const failing = await aChat();
    for (const attempts of [1, 2, 3, 4]) {
      expect(await deliveries(attempts)).toHaveLength(attempts);
      await retell.advance(MINUTE_MS);
    }
    const fine = await aChat();
    await deliveries(1, `&chat_id=${fine}`);
    await retell.advance(MINUTE_MS);
    await aChat();
    expect((await receiver.arrived(6)).map(({ chat_id }) => chat_id).slice(0, 5)).toEqual([
      ...Array(4).fill(failing),
      fine,
    ]);
    expect(await receiver.arrived(6)).toHaveLength(6);
  });

  test("a retry comes after a later event", async () => {
    await webhook({ events: ["chat_ended", "chat_analyzed"], retryDelayMs: MINUTE_MS });
    receiver.answers.push(500);
    await chats.end(await aChat());
    await deliveries(1);
    await retell.advance(4_000);
    await deliveries(2);
    await retell.advance(MINUTE_MS - 4_000);
    expect(eventsOf(await receiver.arrived(3))).toEqual(["chat_ended", "chat_analyzed", "chat_ended"]);
  });

  test("an event that is not answered yet holds up no other, nor the caller", async () => {
    await webhook();
    receiver.answers.push("hang", "hang");
    await chats.end(await aChat());
    await receiver.arrived(2);
    await retell.advance(4_000);
    expect(await deliveries(1)).toMatchObject([{ event: "chat_analyzed", status: 204 }]);
    receiver.answerAll();
    expect((await deliveries(3)).map(({ event }) => event)).toEqual(ALL);
  });

  test("no answer in time is a failure, too", async () => {
    await webhook({ timeoutMs: 20, retries: 0 });
    receiver.answers.push("hang");
    const chat_id = await aChat();
    expect(await deliveries(1)).toMatchObject([{ chat_id, attempt: 1, error: "timeout" }]);
  });

  test("a webhook that is taken back, or a reset, ends them", async () => {
    await webhook({ retryDelayMs: MINUTE_MS });
    receiver.answers.push(500, 500);
    await aChat();
    await deliveries(1);
    await retell.command("DELETE", "/webhooks/key_one");
    await retell.advance(MINUTE_MS);
    await webhook({ retryDelayMs: MINUTE_MS });
    await aChat();
    await deliveries(2);
    await retell.command("DELETE", "/chats");
    expect(await retell.command("GET", "/webhooks")).toEqual({ webhooks: {} });
    await webhook();
    await retell.advance(MINUTE_MS);
    const chat_id = await aChat();
    expect(await deliveries(1)).toMatchObject([{ chat_id, attempt: 1 }]);
    expect(await receiver.arrived(3)).toHaveLength(3);
  });
});

describe("before the answer", () => {
  /** What happens, in its order, when the receiver asks for the chat before it answers. */
  const happeningsOf = async (cause: () => Promise<unknown>) => {
    const happenings: string[] = [];
    receiver.before = async ({ event, chat_id }) => {
      const { chat_status } = await chats.retrieve(chat_id);
      happenings.push(`${event} while ${chat_status}`);
    };
    await cause();
    return [...happenings, "answer"];
  };

  test("the event is told, and answered, before whoever caused it gets an answer", async () => {
    await webhook({ beforeAnswer: true, events: ["chat_started", "chat_ended"] });
    expect(await happeningsOf(() => aChat())).toEqual(["chat_started while ongoing", "answer"]);

    receiver.before = async () => {};
    const [one, two] = [await aChat(), await aChat()];
    expect(await happeningsOf(() => chats.end(one))).toEqual(["chat_ended while ended", "answer"]);
    expect(await happeningsOf(() => say(two, "goodbye"))).toEqual(["chat_ended while ended", "answer"]);
  });

  test("also before an answer that is a fault", async () => {
    await webhook({ beforeAnswer: true, events: ["chat_ended"] });
    const chat_id = await aChat();
    await retell.fault({ step: "end", kind: "drop", effect: "before" });
    expect(await happeningsOf(() => chats.end(chat_id).catch(() => {}))).toEqual(["chat_ended while ended", "answer"]);
  });

  test("a first attempt that fails is waited for, its retry is not", async () => {
    await webhook({ beforeAnswer: true, retryDelayMs: MINUTE_MS, events: ["chat_ended"] });
    receiver.answers.push(500);
    await chats.end(await aChat());
    expect(await deliveries(0)).toMatchObject([{ attempt: 1, status: 500 }]);
    await retell.advance(MINUTE_MS);
    expect(await deliveries(2)).toMatchObject([{}, { attempt: 2, status: 204 }]);
  });
});
