import { describe, expect, test } from "vitest";
import { anEmptySimulator } from "./support/simulator.ts";

const HOUR_MS = 3_600_000;
const MISSING = { status: 422, error: { status: "error", message: "Cannot find requested asset under given api key" } };

const { retell, chats } = await anEmptySimulator();

const aChat = (agent_id = "agent_shop", more = {}) => chats.create({ agent_id, ...more });
const say = async (chat_id: string, content: string) =>
  (await chats.createChatCompletion({ chat_id, content })).messages;
const roles = (entries: { role: string }[] = []) => entries.map(({ role }) => role);

describe("create", () => {
  test("answers 201 with an ongoing chat, its opening message, and what was given", async () => {
    const given = {
      agent_id: "agent_shop",
      agent_version: 0,
      metadata: { tenant: "t1", nested: { deep: [1] } },
      retell_llm_dynamic_variables: { customer_name: "Ada" },
    };
    const { data, response } = await chats.create(given).withResponse();
    expect(response.status).toBe(201);
    expect(data).toMatchObject({ agent_id: "agent_shop", version: 0, chat_status: "ongoing", chat_type: "api_chat" });
    expect(data).toMatchObject({ metadata: given.metadata, retell_llm_dynamic_variables: { customer_name: "Ada" } });
    expect(data.chat_id).toMatch(/^chat_([0-9a-f]{27}|[0-9a-f]{32})$/);
    expect(data.transcript).toBe("Agent: Hello, Ada! You have reached Fernwood Lamps. How can I help you today?\n");
    expect(await chats.retrieve(data.chat_id)).toEqual(data);
  });

  test("metadata and variables are absent when never set, and so is all that comes with the end", async () => {
    const fields = Object.keys(await aChat());
    expect(fields).not.toContain("metadata");
    expect(fields).not.toContain("retell_llm_dynamic_variables");
    expect(fields).not.toContain("collected_dynamic_variables");
    expect(fields).not.toContain("chat_analysis");
    expect(fields).not.toContain("chat_cost");
  });

  test("an agent may let the user speak first", async () => {
    await retell.agent("mute", { opening: "none" });
    for (const agent of ["agent_quiet", "mute"]) {
      expect(await aChat(agent)).toMatchObject({ transcript: "", message_with_tool_calls: [] });
    }
  });

  test("a fixed opening is filled with variables, and leaves {{name}} where one is not set", async () => {
    await retell.agent("fixed", { begin_message: "Hi {{customer_name}}, from {{city}}." });
    const { transcript } = await aChat("fixed", { retell_llm_dynamic_variables: { customer_name: "Ada" } });
    expect(transcript).toBe("Agent: Hi Ada, from {{city}}.\n");
  });

  test("the 201 may lack the opening that the history has", async () => {
    await retell.settings({ key: "key_one", openingInCreate: false });
    const chat = await aChat();
    expect(chat).not.toHaveProperty("message_with_tool_calls");
    expect(chat).not.toHaveProperty("transcript");
    expect(roles((await chats.retrieve(chat.chat_id)).message_with_tool_calls)).toEqual(["agent"]);
  });

  test("the opening may come later than the create", async () => {
    await retell.agent("tardy", { openingDelayMs: HOUR_MS });
    const { chat_id } = await aChat("tardy");
    expect((await chats.retrieve(chat_id)).message_with_tool_calls).toEqual([]);
    await retell.advance(HOUR_MS);
    expect(roles((await chats.retrieve(chat_id)).message_with_tool_calls)).toEqual(["agent"]);
  });

  test("a version is a number from 0 or a tag", async () => {
    expect(await aChat("a", { agent_version: "prod" })).toMatchObject({ agent_tag: "prod" });
    for (const agent_version of [-1, 1.5, "Not a tag", "x".repeat(21), true]) {
      await expect(aChat("a", { agent_version })).rejects.toMatchObject({ status: 400 });
    }
  });

  test("an unknown agent is 422", async () => {
    await expect(aChat("agent_missing_1")).rejects.toMatchObject(MISSING);
  });

  test("a variable that is no string is refused", async () => {
    const retell_llm_dynamic_variables = { age: 42 };
    await expect(aChat("a", { retell_llm_dynamic_variables })).rejects.toMatchObject({ status: 400 });
  });

  test("metadata above 50 kB is refused", async () => {
    const fits = { text: "x".repeat(51_200 - '{"text":""}'.length) };
    expect((await aChat("a", { metadata: fits })).metadata).toEqual(fits);
    await expect(aChat("a", { metadata: { text: `${fits.text}x` } })).rejects.toMatchObject({ status: 400 });
  });
});

describe("completion", () => {
  test("answers the new messages only; the history has the user's entry before them", async () => {
    const { chat_id } = await aChat();
    await say(chat_id, "ping 1");
    const messages = await say(chat_id, "ping 2");
    expect(messages).toMatchObject([{ role: "agent", content: "You said: ping 2 (message 2)" }]);

    const { message_with_tool_calls: history, transcript } = await chats.retrieve(chat_id);
    expect(roles(history)).toEqual(["agent", "user", "agent", "user", "agent"]);
    expect(history?.slice(-1)).toEqual(messages);
    expect(transcript).toMatch(/User: ping 2\nAgent: You said: ping 2 \(message 2\)\n$/);
  });

  test("the same conversation gives the same texts", async () => {
    const texts = [];
    for (const _ of [1, 2]) {
      const { chat_id } = await aChat("a", { retell_llm_dynamic_variables: { customer_name: "Ada" } });
      for (const content of ["hello", "order 1043", "nonsense", "who am I"]) await say(chat_id, content);
      texts.push((await chats.retrieve(chat_id)).transcript);
    }
    expect(texts[0]).toContain("You said: nonsense (message 3, Ada)");
    expect(texts[1]).toBe(texts[0]);
  });

  test.each([
    ["order 1042", ["tool_call_invocation", "tool_call_result", "agent"]],
    ["refund", ["agent", "agent"]],
    ["billing", ["node_transition", "agent"]],
    ["back to support", ["state_transition", "agent"]],
    ["think", ["tool_call_invocation", "tool_call_result"]],
    ["silence", []],
    ["surprise", ["role_from_the_future", "agent"]],
    ["goodbye", ["agent", "tool_call_invocation", "tool_call_result"]],
  ])("%j is answered by %j", async (content, expected) => {
    const { chat_id } = await aChat();
    const messages = await say(chat_id, content);
    expect(roles(messages)).toEqual(expected);
    const { message_with_tool_calls: history } = await chats.retrieve(chat_id);
    expect(roles(history)).toEqual(["agent", "user", ...expected]);
  });

  test("a tool call has an id for itself and its result, and arguments as a JSON string", async () => {
    const { chat_id } = await aChat();
    const [invocation, result] = await say(chat_id, "where is order 77?");
    expect(invocation).toMatchObject({ name: "lookup_order", arguments: '{"order_number":"77"}' });
    expect(invocation).toHaveProperty("thought_signature");
    expect(result).toMatchObject({ tool_call_id: (invocation as { tool_call_id: string }).tool_call_id });
    expect(result).toMatchObject({ successful: true });
    const { transcript } = await chats.retrieve(chat_id);
    expect(transcript?.split("\n").map((line) => line.split(":")[0])).toEqual(["Agent", "User", "Agent", ""]);
    const [again] = await say(chat_id, "where is order 77?");
    expect(again).not.toHaveProperty("thought_signature");
    expect(again).not.toMatchObject({ tool_call_id: (invocation as { tool_call_id: string }).tool_call_id });
  });

  test("the agent may end the chat, which only the chat itself tells", async () => {
    const { chat_id } = await aChat();
    await say(chat_id, "goodbye");
    expect(await chats.retrieve(chat_id)).toMatchObject({ chat_status: "ended", end_timestamp: expect.any(Number) });
  });

  test("the agent may break, which leaves the chat in status error", async () => {
    const { chat_id } = await aChat();
    expect(roles(await say(chat_id, "crash"))).toEqual(["agent"]);
    expect((await chats.retrieve(chat_id)).chat_status).toBe("error");
    await expect(say(chat_id, "hello?")).rejects.toMatchObject({ status: 422 });
  });

  test("after the end it is a 4xx and leaves no trace", async () => {
    const { chat_id } = await aChat();
    await chats.end(chat_id);
    await expect(say(chat_id, "ping")).rejects.toMatchObject({ status: 422 });
    await retell.settings({ completionAfterEnd: 400 });
    await expect(say(chat_id, "ping")).rejects.toMatchObject({ status: 400 });
    expect(roles((await chats.retrieve(chat_id)).message_with_tool_calls)).toEqual(["agent"]);
  });

  test("a script of the test's own comes before the shop's conversation", async () => {
    const messages = [
      { role: "agent", content: "Hm, {{mood}}." },
      { role: "sms", content: "psst" },
    ];
    await retell.agent("scripted", { script: [{ says: "hello", messages, outcome: "ended" }] });
    const { chat_id } = await aChat("scripted", { retell_llm_dynamic_variables: { mood: "well" } });
    expect(await say(chat_id, "Hello there")).toMatchObject([{ content: "Hm, well." }, messages[1]]);
    expect((await chats.retrieve(chat_id)).chat_status).toBe("ended");
  });

  test("ids and times may be given always, never, now and then, or in the history only", async () => {
    const countOf = async (agent: string) => {
      const { chat_id } = await aChat(agent);
      const replies = [...(await say(chat_id, "refund")), ...(await say(chat_id, "refund"))];
      const { message_with_tool_calls: history = [] } = await chats.retrieve(chat_id);
      const having = (entries: object[]) => [
        entries.filter((entry) => "message_id" in entry).length,
        entries.filter((entry) => "created_timestamp" in entry).length,
      ];
      return { replies: having(replies), history: having(history) };
    };
    await retell.agent("later", { ids: "history" });
    expect(await countOf("agent_shop")).toEqual({ replies: [4, 4], history: [7, 7] });
    expect(await countOf("agent_bare")).toEqual({ replies: [0, 0], history: [0, 0] });
    expect(await countOf("agent_patchy")).toEqual({ replies: [2, 1], history: [5, 4] });
    expect(await countOf("later")).toEqual({ replies: [0, 0], history: [7, 7] });
  });
});

describe("the end", () => {
  test("end answers 204 without a body", async () => {
    const { chat_id } = await aChat();
    const response = await retell.raw("PATCH", `/end-chat/${chat_id}`);
    expect([response.status, await response.text()]).toEqual([204, ""]);
    expect((await chats.retrieve(chat_id)).chat_status).toBe("ended");
  });

  test.each([204, 400, 422])("a second end may be %d, and moves no time", async (endTwice) => {
    await retell.settings({ endTwice });
    const { chat_id } = await aChat();
    await chats.end(chat_id);
    const { end_timestamp } = await chats.retrieve(chat_id);
    await retell.advance(1_000);
    expect((await retell.raw("PATCH", `/end-chat/${chat_id}`)).status).toBe(endTwice);
    expect((await chats.retrieve(chat_id)).end_timestamp).toBe(end_timestamp);
  });

  test("a chat closes by itself after the agent's silence, counted from its last message", async () => {
    await retell.agent("tidy", { auto_close_message: "Are you there? I close now." });
    const { chat_id } = await aChat("tidy");
    await retell.advance(HOUR_MS - 60_000);
    await say(chat_id, "ping");
    await retell.advance(HOUR_MS - 60_000);
    expect((await chats.retrieve(chat_id)).chat_status).toBe("ongoing");

    const { entries } = await retell.held(chat_id);
    await retell.advance(10 * HOUR_MS);
    const closed = await chats.retrieve(chat_id);
    expect(closed).toMatchObject({ chat_status: "ended", transcript: expect.stringMatching(/I close now.\n$/) });
    expect(closed.end_timestamp).toBe((entries.at(-1)?.created_timestamp ?? 0) + HOUR_MS);
  });

  test("cost comes late, in cents, and analysis later still", async () => {
    await retell.agent("busy", { costDelayMs: HOUR_MS, analysisDelayMs: 2 * HOUR_MS });
    const { chat_id } = await aChat("busy");
    await say(chat_id, "refund");
    await chats.end(chat_id);
    expect(await chats.retrieve(chat_id)).toMatchObject({ collected_dynamic_variables: { refund: "started" } });
    expect(await chats.retrieve(chat_id)).not.toHaveProperty("chat_cost");
    await retell.advance(HOUR_MS);
    expect(await chats.retrieve(chat_id)).toMatchObject({ chat_cost: { combined_cost: 1.05 } });
    expect(await chats.retrieve(chat_id)).not.toHaveProperty("chat_analysis");
    await retell.advance(HOUR_MS);
    expect(await chats.retrieve(chat_id)).toMatchObject({
      chat_analysis: { chat_summary: "The user wrote 1 message to the agent.", chat_successful: true },
    });
  });

  test("analysis may be partial, cost may never come, the time of the end may lack", async () => {
    await retell.agent("poor", { analysis: "partial", costDelayMs: null, endTimestamp: "missing" });
    const { chat_id } = await aChat("poor");
    await chats.end(chat_id);
    await retell.advance(HOUR_MS);
    const { chat_analysis, ...rest } = await chats.retrieve(chat_id);
    expect(chat_analysis).toEqual({ chat_summary: "The user wrote 0 messages to the agent." });
    expect(rest).not.toHaveProperty("chat_cost");
    expect(rest).not.toHaveProperty("end_timestamp");
  });

  test("a chat that closed by silence may go without analysis", async () => {
    await retell.agent("thrifty", { analysis: "unless_inactive" });
    const { chat_id } = await aChat("thrifty");
    await retell.advance(2 * HOUR_MS);
    expect((await retell.held(chat_id)).events.map(({ event }) => event)).toEqual(["chat_started", "chat_ended"]);
  });

  test("a rerun of the analysis answers the old one, brings a new one later, and costs", async () => {
    const { chat_id } = await aChat();
    await expect(chats.rerunAnalysis(chat_id)).rejects.toMatchObject({ status: 400 });
    await chats.end(chat_id);
    await retell.advance(HOUR_MS);
    const before = await chats.retrieve(chat_id);
    expect(await chats.rerunAnalysis(chat_id)).toEqual(before);
    await retell.advance(HOUR_MS);
    const { chat_analysis, chat_cost } = await chats.retrieve(chat_id);
    expect(chat_analysis?.chat_summary).toBe(`${before.chat_analysis?.chat_summary} (analysis no. 2)`);
    expect(chat_cost?.combined_cost).toBeGreaterThan(before.chat_cost?.combined_cost ?? 0);
  });
});
