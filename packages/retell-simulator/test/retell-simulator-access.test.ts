import { describe, expect, test } from "vitest";
import { anEmptySimulator } from "./support/simulator.ts";

const HOUR_MS = 3_600_000;
const MISSING = { status: 422, error: { status: "error", message: "Cannot find requested asset under given api key" } };

const { retell, chats } = await anEmptySimulator();

const aChat = (agent_id = "agent_shop", more = {}) => chats.create({ agent_id, ...more });
const say = async (chat_id: string, content: string) =>
  (await chats.createChatCompletion({ chat_id, content })).messages;

describe("what is kept", () => {
  test("update sets metadata, adds overriding variables, and null clears those", async () => {
    const { chat_id } = await aChat("a", { retell_llm_dynamic_variables: { customer_name: "Ada", city: "Turin" } });
    const updated = await chats.update(chat_id, {
      metadata: { vip: true },
      override_dynamic_variables: { customer_name: "Bea" },
    });
    expect(updated).toMatchObject({
      metadata: { vip: true },
      retell_llm_dynamic_variables: { customer_name: "Bea", city: "Turin" },
    });
    expect(await say(chat_id, "who am I")).toMatchObject([{ content: "I have you down as Bea." }]);
    await chats.update(chat_id, { override_dynamic_variables: null });
    expect(await say(chat_id, "who am I")).toMatchObject([{ content: "I have you down as Ada." }]);
  });

  test("update drops custom attributes that nobody has defined", async () => {
    await retell.settings({ customAttributes: ["team"] });
    const { chat_id } = await aChat();
    const updated = await chats.update(chat_id, { custom_attributes: { team: "red", colour: "green" } });
    expect(updated.custom_attributes).toEqual({ team: "red" });
  });

  test("the storage setting goes only towards stricter", async () => {
    const { chat_id } = await aChat();
    expect(await chats.update(chat_id, { data_storage_setting: "everything" })).toHaveProperty("transcript");
    const stricter = await chats.update(chat_id, { data_storage_setting: "basic_attributes_only" });
    expect(stricter).not.toHaveProperty("transcript");
    await expect(chats.update(chat_id, { data_storage_setting: "everything" })).rejects.toMatchObject({ status: 400 });
  });

  test("an agent that stores no history answers, but get-chat has no words", async () => {
    const { chat_id } = await aChat("agent_private");
    expect(await say(chat_id, "ping")).toHaveLength(1);
    const chat = await chats.retrieve(chat_id);
    expect(chat).toMatchObject({ chat_id, chat_status: "ongoing" });
    expect(chat).not.toHaveProperty("message_with_tool_calls");
    expect(chat).not.toHaveProperty("transcript");
  });

  test("after the retention time the chat is gone for good", async () => {
    await retell.agent("forgetful", { data_storage_retention_days: 1 });
    const { chat_id } = await aChat("forgetful");
    await chats.end(chat_id);
    await retell.advance(23 * HOUR_MS);
    expect(await chats.retrieve(chat_id)).toMatchObject({ chat_id });
    await retell.advance(HOUR_MS);
    await expect(chats.retrieve(chat_id)).rejects.toMatchObject(MISSING);
    expect((await chats.list({})).items).toEqual([]);
  });

  test("a guardrail puts a placeholder for what the user or the agent said", async () => {
    await retell.agent("strict", { guardrail: { input: ["bomb"], output: ["refund"], placeholder: "[removed]" } });
    const { chat_id } = await aChat("strict");
    expect(await say(chat_id, "a BOMB")).toMatchObject([{ content: "I am sorry, I cannot talk about that." }]);
    expect(await say(chat_id, "refund")).toMatchObject([{}, { content: "[removed]" }]);
    const { transcript } = await chats.retrieve(chat_id);
    expect(transcript).toContain("User: [removed]\n");
    expect(transcript).not.toContain("BOMB");
    expect(transcript).toMatch(/Agent: \[removed\]\n$/);
  });

  test("delete answers 204 and leaves a missing chat", async () => {
    const { chat_id } = await aChat();
    expect((await retell.raw("DELETE", `/delete-chat/${chat_id}`)).status).toBe(204);
    await expect(chats.retrieve(chat_id)).rejects.toMatchObject(MISSING);
  });
});

describe("who may", () => {
  const everyCall: [string, (chat_id: string) => Promise<unknown>][] = [
    ["retrieve", (id) => retell.sdk("key_two").retrieve(id)],
    ["completion", (id) => retell.sdk("key_two").createChatCompletion({ chat_id: id, content: "ping" })],
    ["end", (id) => retell.sdk("key_two").end(id)],
    ["update", (id) => retell.sdk("key_two").update(id, { metadata: {} })],
    ["delete", (id) => retell.sdk("key_two").delete(id)],
    ["rerun", (id) => retell.sdk("key_two").rerunAnalysis(id)],
  ];
  test.each(everyCall)("%s finds a chat of another key no more than a missing one", async (_, call) => {
    const { chat_id } = await aChat();
    await expect(call(chat_id)).rejects.toMatchObject(MISSING);
    await expect(call("chat_none")).rejects.toMatchObject(MISSING);
    expect(await chats.retrieve(chat_id)).toMatchObject({ chat_id, chat_status: "ongoing" });
  });

  test("a key that does not begin with key_ is 401", async () => {
    await expect(retell.sdk("secret").create({ agent_id: "a" })).rejects.toMatchObject({ status: 401 });
    expect((await fetch(`${retell.url}/get-chat/x`)).status).toBe(401);
  });

  test.each([401, 402, 403])("a key may be made to get %d, and be good again", async (status) => {
    await retell.settings({ invalidKeys: { key_one: status } });
    await expect(aChat()).rejects.toMatchObject({ status, error: { status: "error" } });
    await retell.settings({ invalidKeys: { key_one: null } });
    expect(await aChat()).toMatchObject({ chat_status: "ongoing" });
  });

  test("a wrong path or method is 404 in JSON", async () => {
    for (const [method, path] of [
      ["GET", "/list-chat"],
      ["POST", "/get-chat/x"],
      ["GET", "/get-chat/a/b"],
      ["PATCH", "/end-chat/"],
      ["GET", "//["],
    ] as const) {
      const response = await retell.raw(method, path);
      expect([response.status, await response.json()]).toMatchObject([404, { status: "error" }]);
    }
  });

  test("a body that is no JSON, too large, or of the wrong shape is 400, and the server lives", async () => {
    const { chat_id } = await aChat();
    for (const body of ["{", "", "null", "[]", '{"chat_id":1}', "\u0000", `"${"x".repeat(1_000_001)}"`]) {
      const response = await retell.raw("POST", "/create-chat-completion", body);
      const message = expect.stringMatching(body.length > 1_000_000 ? "larger than" : "");
      expect([response.status, await response.json()]).toMatchObject([400, { status: "error", message }]);
    }
    expect(await say(chat_id, "ping")).toHaveLength(1);
  });
});
