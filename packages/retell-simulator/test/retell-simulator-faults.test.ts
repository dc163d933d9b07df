import { beforeEach, describe, expect, test } from "vitest";
import { Clock } from "../src/clock.ts";
import { anEmptySimulator, aSimulator } from "./support/simulator.ts";

/** Delays are long, so that a slow machine does not reach them in real time. */
const MINUTE_MS = 60_000;

const { retell, chats } = await anEmptySimulator();
let chat_id: string;
beforeEach(async () => {
  ({ chat_id } = await chats.create({ agent_id: "agent_quiet" }));
});

const say = (content: string, options = {}) => chats.createChatCompletion({ chat_id, content }, options);

/** What the history holds by now, in one line. */
const words = async (id = chat_id) => {
  const { message_with_tool_calls: history = [] } = await chats.retrieve(id);
  return history.map((entry) => `${entry.role}: ${"content" in entry ? entry.content : ""}`);
};
const PING = ["user: ping", "agent: You said: ping (message 1)"];

/** The outcome of a promise. The caller need not wait for it. */
const outcomeOf = (promise: PromiseLike<unknown>) =>
  Promise.resolve(promise).then(
    () => "answered",
    (error: Error) => error.constructor.name,
  );

/** Sends, and leaves as soon as the simulator has the request; resolves when it has noticed. */
async function sendAndLeave(content: string) {
  const leaving = new AbortController();
  const outcome = outcomeOf(say(content, { signal: leaving.signal }));
  await retell.arrived("completion");
  leaving.abort();
  expect(await outcome).toBe("APIUserAbortError");
  await retell.arrived("completion", 1, "&unanswered");
}

describe("delays", () => {
  test("latency: the answer comes so much later, and so does the effect", async () => {
    await retell.fault({ step: "completion", kind: "latency", ms: 20 * MINUTE_MS });
    const outcome = outcomeOf(say("ping"));
    await retell.arrived("completion");
    await retell.advance(10 * MINUTE_MS);
    expect(await words()).toEqual([]);
    await retell.advance(10 * MINUTE_MS);
    expect(await outcome).toBe("answered");
    expect(await words()).toEqual(PING);
  });

  test("latency: a caller who has gone meanwhile was never there", async () => {
    await retell.fault({ step: "completion", kind: "latency", ms: 20 * MINUTE_MS });
    await sendAndLeave("ping");
    await retell.advance(30 * MINUTE_MS);
    expect(await words()).toEqual([]);
  });

  test("late: the effect comes although the caller has gone", async () => {
    await retell.fault({ step: "completion", kind: "late", ms: 20 * MINUTE_MS });
    await sendAndLeave("ping");
    await retell.advance(10 * MINUTE_MS);
    expect(await words()).toEqual([]);
    await retell.advance(10 * MINUTE_MS);
    expect(await words()).toEqual(PING);
  });

  test("late: a message that was sent afterwards comes first", async () => {
    await retell.fault({ step: "completion", kind: "late", ms: 20 * MINUTE_MS });
    const outcome = outcomeOf(say("ping 1"));
    await retell.arrived("completion");
    await say("ping 2");
    await retell.advance(20 * MINUTE_MS);
    expect(await outcome).toBe("answered");
    expect((await words()).filter((line) => line.startsWith("user"))).toEqual(["user: ping 2", "user: ping 1"]);
  });

  test("lateReply: the user's entry shows at once, the reply later, and the answer with the reply", async () => {
    await retell.fault({ step: "completion", kind: "lateReply", replyAfterMs: 20 * MINUTE_MS });
    const outcome = outcomeOf(say("ping"));
    await retell.arrived("completion");
    expect(await words()).toEqual(["user: ping"]);
    await retell.advance(20 * MINUTE_MS);
    expect(await outcome).toBe("answered");
    expect(await words()).toEqual(PING);
    const [user, agent] = (await retell.held(chat_id)).entries;
    expect((agent?.created_timestamp ?? 0) - (user?.created_timestamp ?? 0)).toBeGreaterThanOrEqual(20 * MINUTE_MS);
  });

  test("lateReply: the reply comes although the caller has gone", async () => {
    await retell.fault({ step: "completion", kind: "lateReply", replyAfterMs: 20 * MINUTE_MS });
    await sendAndLeave("ping");
    expect(await words()).toEqual(["user: ping"]);
    await retell.advance(20 * MINUTE_MS);
    expect(await words()).toEqual(PING);
  });

  test("lateReply: a chat that ends first leaves the user's entry unanswered, and refuses the caller", async () => {
    await retell.fault({ step: "completion", kind: "lateReply", replyAfterMs: 20 * MINUTE_MS });
    const outcome = outcomeOf(say("ping"));
    await retell.arrived("completion");
    await chats.end(chat_id);
    expect(await outcome).toBe("UnprocessableEntityError");
    await retell.advance(30 * MINUTE_MS);
    expect(await words()).toEqual(["user: ping"]);
  });

  test("a slow agent needs no fault, and real time brings its reply as well", async () => {
    await retell.agent("slow", { opening: "none", replyDelayMs: 20 });
    ({ chat_id } = await chats.create({ agent_id: "slow" }));
    expect((await say("ping")).messages).toHaveLength(1);
    const [user, agent] = (await retell.held(chat_id)).entries;
    expect((agent?.created_timestamp ?? 0) - (user?.created_timestamp ?? 0)).toBeGreaterThanOrEqual(20);
  });

  test("an agent that is about to reply is not silent", async () => {
    await retell.fault({ step: "completion", kind: "lateReply", replyAfterMs: 3 * 3_600_000 });
    const outcome = outcomeOf(say("ping"));
    await retell.arrived("completion");
    await retell.advance(2 * 3_600_000);
    expect((await chats.retrieve(chat_id)).chat_status).toBe("ongoing");
    await retell.advance(3_600_000);
    expect(await outcome).toBe("answered");
  });

  test("one push of the clock brings all that is due, each thing at its own time and with what follows from it", async () => {
    await retell.agent("slow", { opening: "none", replyDelayMs: 1_000 });
    ({ chat_id } = await chats.create({ agent_id: "slow" }));
    await retell.fault({ step: "completion", kind: "late", ms: 1_000 });
    const outcome = outcomeOf(say("ping"));
    const now = Number((await retell.command("GET", "/clock")).now);
    await retell.arrived("completion");
    await retell.advance(600_000);
    const [user, agent] = (await retell.held(chat_id)).entries;
    expect(user?.created_timestamp).toBeLessThan(now + 300_000);
    expect(agent?.created_timestamp).toBeLessThan(now + 300_000);
    expect(await outcome).toBe("answered");
  });

  test("what is due at one moment happens in the order in which it was asked for", async () => {
    const clock = new Clock();
    const order: number[] = [];
    const moment = clock.now() + 1_000;
    for (const n of [1, 2, 3]) clock.at(moment, () => order.push(n));
    await clock.advance(1_000);
    clock.stop();
    expect(order).toEqual([1, 2, 3]);
  });
});

describe("two completions at once", () => {
  const both = async () => {
    await retell.fault({ step: "completion", kind: "lateReply", replyAfterMs: 20 * MINUTE_MS });
    const first = outcomeOf(say("ping 1"));
    await retell.arrived("completion");
    const second = outcomeOf(say("ping 2"));
    await retell.arrived("completion", 2);
    await retell.advance(20 * MINUTE_MS);
    expect(await Promise.all([first, second])).toEqual(["answered", "answered"]);
    return (await words()).map((line) => line.replace(/You said: | \(.*/g, ""));
  };

  test("are answered one after the other, in the order of arrival", async () => {
    expect(await both()).toEqual(["user: ping 1", "agent: ping 1", "user: ping 2", "agent: ping 2"]);
  });

  test("or mingle, where the settings say so", async () => {
    await retell.settings({ together: "interleave" });
    expect(await both()).toEqual(["user: ping 1", "user: ping 2", "agent: ping 2", "agent: ping 1"]);
  });
});

describe("failures", () => {
  // What the caller sees of each, whatever became of the message.
  test.each([
    [{ kind: "status", status: 500 }, "InternalServerError"],
    [{ kind: "status", status: 429 }, "RateLimitError"],
    [{ kind: "drop" }, "APIConnectionError"],
    [{ kind: "half" }, "TypeError"],
    [{ kind: "garbage", as: "truncated" }, "SyntaxError"],
  ])("%j is a %s to the SDK; with effect 'none' nothing was done, with 'before' all was", async (fault, seen) => {
    await retell.fault({ step: "completion", ...fault });
    expect(await outcomeOf(say("ping"))).toBe(seen);
    expect(await words()).toEqual([]);

    await retell.fault({ step: "completion", ...fault, effect: "before" });
    expect(await outcomeOf(say("ping"))).toBe(seen);
    expect(await words()).toEqual(PING);
  });

  test("effect 'after': the error is answered first, and the thing done later", async () => {
    const fault = { step: "completion", kind: "status", status: 500, effect: "after", effectAfterMs: 20 * MINUTE_MS };
    await retell.fault(fault);
    expect(await outcomeOf(say("ping"))).toBe("InternalServerError");
    expect(await words()).toEqual([]);
    await retell.advance(20 * MINUTE_MS);
    expect(await words()).toEqual(PING);
  });

  test("with replyAfterMs the user's entry stands when the fault shows, and the reply comes later", async () => {
    await retell.fault({ step: "completion", kind: "drop", effect: "before", replyAfterMs: 20 * MINUTE_MS });
    expect(await outcomeOf(say("ping"))).toBe("APIConnectionError");
    expect(await words()).toEqual(["user: ping"]);
    await retell.advance(20 * MINUTE_MS);
    expect(await words()).toEqual(PING);
  });

  test("status: the body, retry-after and retry-after-ms are as scripted", async () => {
    await retell.fault({
      step: "retrieve",
      kind: "status",
      status: 429,
      retryAfter: 7,
      retryAfterMs: 6_500,
      message: "Slow down",
    });
    const response = await retell.raw("GET", `/get-chat/${chat_id}`);
    expect(response.status).toBe(429);
    expect(await response.json()).toEqual({ status: "error", message: "Slow down" });
    expect([response.headers.get("retry-after"), response.headers.get("retry-after-ms")]).toEqual(["7", "6500"]);
  });

  test("half: the headers come whole, the body never does", async () => {
    for (const hang of [false, true]) {
      await retell.fault({ step: "completion", kind: "half", effect: "before", hang });
      const leaving = new AbortController();
      const response = await fetch(`${retell.url}/create-chat-completion`, {
        method: "POST",
        headers: { authorization: "Bearer key_one" },
        body: JSON.stringify({ chat_id, content: "ping" }),
        signal: leaving.signal,
      });
      expect(response.status).toBe(201);
      const reader = response.body?.getReader();
      const { value } = (await reader?.read()) ?? {};
      expect(new TextDecoder().decode(value)).toMatch(/^\{"messages":\[/);
      const rest = outcomeOf(reader?.read() ?? Promise.resolve());
      // One that hangs has said nothing more when another request has come and gone.
      await chats.retrieve(chat_id);
      if (hang) leaving.abort();
      expect(await rest).toBe(hang ? "DOMException" : "TypeError");
    }
  });

  test("garbage: a web page or another shape reach the caller of the SDK as if all were well", async () => {
    await retell.fault([
      { step: "completion", kind: "garbage" },
      { step: "completion", kind: "garbage", as: "shape" },
    ]);
    expect(await say("ping")).toMatch(/^<!doctype html>/);
    expect(await say("ping")).toEqual({ data: [{ answer: 42 }] });
  });

  test("hang: there is no answer, and no effect unless it came before", async () => {
    await retell.fault({ step: "completion", kind: "hang" });
    await sendAndLeave("ping");
    await retell.advance(600_000);
    expect(await words()).toEqual([]);
    await retell.command("DELETE", "/requests");
    await retell.fault({ step: "completion", kind: "hang", effect: "before" });
    await sendAndLeave("ping");
    expect(await words()).toEqual(PING);
  });

  test("every step can fail, with its effect", async () => {
    const failing = { kind: "status", status: 503, effect: "before", count: 0 };
    await retell.fault({ step: "any", ...failing });
    const seen = [
      chats.create({ agent_id: "a", metadata: { mark: 1 } }),
      chats.list({}),
      chats.retrieve(chat_id),
      chats.update(chat_id, { metadata: { mark: 2 } }),
      say("ping"),
      chats.end(chat_id),
      chats.rerunAnalysis(chat_id),
    ].map(outcomeOf);
    expect(new Set(await Promise.all(seen))).toEqual(new Set(["InternalServerError"]));
    await retell.command("DELETE", "/faults");

    const held = (await retell.command("GET", "/chats")).chats;
    expect(held).toMatchObject([{ metadata: { mark: 2 }, status: "ended", reruns: 1 }, { metadata: { mark: 1 } }]);
    await retell.fault({ step: "delete", ...failing, count: 1 });
    expect(await outcomeOf(chats.delete(chat_id))).toBe("InternalServerError");
    expect((await retell.command("GET", "/chats")).chats).toHaveLength(1);
  });
});

describe("refusals", () => {
  test.each([400, 401, 402, 403, 404, 413, 415, 422, 429])("%i may be answered after the effect", async (status) => {
    await retell.fault({ step: "completion", kind: "status", status, effect: "before" });
    await expect(say("ping")).rejects.toHaveProperty("status", status);
    expect(await words()).toEqual(PING);
    await retell.fault({ step: "create", kind: "status", status, effect: "before" });
    await expect(chats.create({ agent_id: "a" })).rejects.toHaveProperty("status", status);
    expect((await retell.command("GET", "/chats")).chats).toHaveLength(2);
  });

  test.each([408, 409, 423, 424, 425, 499, 502, 503, 504])("%i may be answered before the effect", async (status) => {
    await retell.fault({ step: "completion", kind: "status", status, effect: "after", effectAfterMs: 20 * MINUTE_MS });
    await expect(say("ping")).rejects.toHaveProperty("status", status);
    expect(await words()).toEqual([]);
    await retell.advance(20 * MINUTE_MS);
    expect(await words()).toEqual(PING);
  });
});

describe("entries that are told otherwise than they stand", () => {
  const shown = async () => (await chats.retrieve(chat_id)).message_with_tool_calls ?? [];
  const ids = (entries: { message_id?: string }[]) => entries.map(({ message_id }) => message_id);

  test("repeat: the last entry of an answer stands in it twice, under one id", async () => {
    await retell.fault({ step: "completion", kind: "repeat" });
    const { messages } = await say("ping");
    expect(messages).toHaveLength(2);
    expect(messages[1]).toEqual(messages[0]);
    const [user, agent] = ids(await shown());
    await retell.fault([
      { step: "retrieve", kind: "repeat" },
      { step: "retrieve", kind: "repeat", role: "user" },
    ]);
    expect(ids(await shown())).toEqual([user, agent, agent]);
    expect(ids(await shown())).toEqual([user, agent, user]);
    expect(ids(await shown())).toEqual([user, agent]);
  });

  test("repeat: an earlier entry stands in an answer once more; the first turn has none", async () => {
    await retell.fault({ step: "completion", kind: "repeat", which: "earlier", count: 2 });
    const { messages: first } = await say("ping 1");
    expect(first).toHaveLength(1);
    const { messages: second } = await say("ping 2");
    expect(second.map((entry) => "content" in entry && entry.content)).toEqual([
      "You said: ping 2 (message 2)",
      "You said: ping 1 (message 1)",
    ]);
    expect(second[1]?.message_id).toBe(first[0]?.message_id);
    const [, one, , two] = ids(await shown());
    await retell.fault({ step: "retrieve", kind: "repeat", which: "earlier" });
    expect(ids(await shown()).slice(1)).toEqual([one, expect.anything(), two, one]);
    await retell.command("POST", `/chats/${chat_id}`, { content: "ping" });
    await retell.fault({ step: "completion", kind: "repeat", which: "earlier" });
    expect((await say("ping 4")).messages.at(-1)?.message_id).toBe(two);
  });

  test("beginning: a get-chat has only the beginning of the agent's last text, the next one all of it", async () => {
    await say("ping");
    await retell.fault({ step: "retrieve", kind: "beginning" });
    const half = await chats.retrieve(chat_id);
    expect(half.message_with_tool_calls).toMatchObject([{ content: "ping" }, { content: "You said: pin" }]);
    expect(half.transcript).toBe("User: ping\nAgent: You said: ping (message 1)\n");
    expect(await words()).toEqual(PING);
  });

  test("an agent whose model reuses the ids of tool calls begins each turn with call_0", async () => {
    await retell.agent("agent_calls", { opening: "none", toolCallIds: "reused" });
    ({ chat_id } = await chats.create({ agent_id: "agent_calls" }));
    await say("order 1042");
    await say("order 1043");
    const calls = (await shown()).filter((entry) => "tool_call_id" in entry);
    expect(calls.map((entry) => "tool_call_id" in entry && entry.tool_call_id)).toEqual(Array(4).fill("call_0"));
    expect(new Set(ids(calls)).size).toBe(4);
  });

  test.each([
    ["trim", " two\r\nlines \u00e9 \t", "two\r\nlines \u00e9"],
    ["lf", "two\r\nlines", "two\nlines"],
    ["nfd", "caf\u00e9", "cafe\u0301"],
    ["nfc", "cafe\u0301", "caf\u00e9"],
  ])("an agent may have the user's text otherwise in its history: %s", async (kind, said, kept) => {
    await retell.agent("agent_words", { opening: "none", userText: [kind] });
    ({ chat_id } = await chats.create({ agent_id: "agent_words" }));
    await say(said);
    expect((await shown())[0]).toMatchObject({ role: "user", content: kept });
    expect((await chats.retrieve(chat_id)).transcript).toContain(`User: ${kept}\n`);
    expect((await retell.held(chat_id)).entries[0]?.content).toBe(said);
  });

  test("a history may lose its beginning, and goes on", async () => {
    await say("ping 1");
    await say("ping 2");
    await retell.command("PATCH", `/chats/${chat_id}`, { forgotten: 3 });
    expect(await words()).toEqual(["agent: You said: ping 2 (message 2)"]);
    await say("ping 3");
    expect((await words()).slice(1)).toEqual(["user: ping 3", "agent: You said: ping 3 (message 3)"]);
  });

  test("a stranger may say something at any time; the simulator knows who said what, and tells it to nobody", async () => {
    await retell.agent("agent_guarded_too", { opening: "none", guardrail: { input: ["secret"] } });
    ({ chat_id } = await chats.create({ agent_id: "agent_guarded_too" }));
    await say("secret");
    await retell.command("POST", `/chats/${chat_id}`, { content: "ping" });
    await retell.command("PATCH", `/chats/${chat_id}`, { add: [{ role: "user", content: "me too" }] });
    expect((await shown()).filter((entry) => "truth" in entry)).toEqual([]);
    expect((await words()).filter((line) => line.startsWith("user"))).toEqual([
      "user: [blocked by guardrail]",
      "user: ping",
      "user: me too",
    ]);
    const { entries } = await retell.held(chat_id);
    const [mine, answer, theirs, other, too] = entries.map(({ message_id, truth }) => ({ message_id, ...truth }));
    expect([mine?.said, mine?.isStrangers, answer?.answers]).toEqual(["secret", undefined, mine?.message_id]);
    expect([theirs?.said, theirs?.isStrangers, other?.answers]).toEqual(["ping", true, theirs?.message_id]);
    expect([too?.said, too?.isStrangers]).toEqual(["me too", true]);
  });
});

describe("which request a fault meets", () => {
  const fails = { kind: "status", status: 500 };
  const statusOf = async (id = chat_id, key = "key_one") =>
    (await retell.raw("GET", `/get-chat/${id}`, undefined, key)).status;

  test("the next of its step, once, and in the order of the queue", async () => {
    await retell.fault([
      { step: "completion", ...fails },
      { step: "retrieve", kind: "status", status: 502 },
      { step: "any", kind: "status", status: 503 },
    ]);
    expect([await statusOf(), await statusOf(), await statusOf()]).toEqual([502, 503, 200]);
    expect((await retell.command("GET", "/faults")).faults).toMatchObject([{ step: "completion", left: 1, met: 0 }]);
  });

  test("as many as its count; with 0, all until the faults are cleared", async () => {
    await retell.fault({ step: "retrieve", ...fails, count: 2 });
    expect([await statusOf(), await statusOf(), await statusOf()]).toEqual([500, 500, 200]);
    await retell.fault({ step: "retrieve", ...fails, count: 0 });
    expect([await statusOf(), await statusOf(), await statusOf()]).toEqual([500, 500, 500]);
    expect((await retell.command("GET", "/faults")).faults).toMatchObject([{ left: null, met: 3 }]);
    await retell.command("DELETE", "/faults");
    expect(await statusOf()).toBe(200);
  });

  test("only those of its chat, and of its key", async () => {
    const other = await chats.create({ agent_id: "a" });
    await retell.fault({ step: "retrieve", ...fails, chat_id: other.chat_id });
    expect([await statusOf(), await statusOf(other.chat_id)]).toEqual([200, 500]);
    await retell.fault({ step: "retrieve", ...fails, key: "key_two" });
    expect([await statusOf(), await statusOf(chat_id, "key_two")]).toEqual([200, 500]);
  });

  test("a fault that nobody understands is refused", async () => {
    for (const fault of [
      { kind: "quake", step: "any" },
      { step: "any", kind: "drop", efect: "before" },
      { kind: "drop" },
    ]) {
      await expect(retell.fault(fault)).rejects.toThrow("400");
    }
  });
});

describe("chaos", () => {
  /** The outcomes of twenty sends to a new chat, in a simulator of their own. */
  const sends = async (seed: number, disturbed = false) => {
    const other = await aSimulator({ seed: 1 });
    try {
      const sdk = other.sdk();
      const mine = await sdk.create({ agent_id: "a" });
      const theirs = await sdk.create({ agent_id: "a" });
      await other.command("POST", "/chaos", { seed, rates: { status: 0.3, drop: 0.2 }, steps: ["completion"] });
      const outcomes = [];
      for (let n = 0; n < 20; n++) {
        const body = { content: `ping ${n}` };
        if (disturbed) await outcomeOf(sdk.createChatCompletion({ ...body, chat_id: theirs.chat_id }));
        outcomes.push(await outcomeOf(sdk.createChatCompletion({ ...body, chat_id: mine.chat_id })));
      }
      return { outcomes, history: (await sdk.retrieve(mine.chat_id)).transcript };
    } finally {
      await other.stop();
    }
  };

  test("a seed gives a chat the same faults and effects each time, whatever other chats do", async () => {
    const once = await sends(7);
    expect(new Set(once.outcomes).size).toBeGreaterThan(2);
    expect(await sends(7)).toEqual(once);
    expect(await sends(7, true)).toEqual(once);
    expect(await sends(8)).not.toEqual(once);
  });

  test("it meets the named steps only, after the scripted faults, and until it is taken back", async () => {
    await retell.command("POST", "/chaos", { seed: 1, rates: { status: 1 }, steps: ["retrieve"] });
    await say("ping");
    await retell.fault({ step: "retrieve", kind: "garbage", as: "shape" });
    expect(await chats.retrieve(chat_id)).toHaveProperty("data");
    await expect(chats.retrieve(chat_id)).rejects.toHaveProperty("status");
    expect((await retell.command("DELETE", "/chaos")).chaos).toBeNull();
    expect(await words()).toEqual(PING);
  });

  test("it draws refusals for what changes something alone, and what stands between for all", async () => {
    const statuses = async (kind: string) => {
      await retell.command("POST", "/chaos", { seed: 1, rates: { [kind]: 1 }, maxMs: 5 });
      const seen = new Set<number>();
      for (let n = 0; n < 60; n++) {
        await say(`ping ${n}`).catch(({ status }) => seen.add(status));
        await chats.end(chat_id).catch(({ status }) => seen.add(status));
      }
      const read = await retell.raw("GET", `/get-chat/${chat_id}`);
      return { read: read.status, seen: [...seen].sort((one, other) => one - other) };
    };
    const refused = await statuses("refused");
    expect(refused).toEqual({ read: 200, seen: [400, 401, 402, 403, 404, 413, 415, 422, 429] });
    const between = await statuses("between");
    expect(between.seen.filter((status) => status !== 422)).toEqual([408, 409, 423, 424, 425, 499, 502, 503, 504]);
    expect(between.seen).toContain(between.read);
  });

  test.each(["latency", "late", "lateReply", "drop", "half", "garbage", "repeat"])("it can draw %s", async (kind) => {
    await retell.command("POST", "/chaos", { seed: 1, rates: { [kind]: 1 }, maxMs: 5 });
    await outcomeOf(say("ping"));
    expect((await retell.arrived("completion")).requests).toMatchObject([{ fault: kind }]);
  });
});
