import { afterEach, describe, expect, it, vi } from "vitest";
import { aRetellBetween } from "./support/between.ts";
import { at, stored, sweepLater, tell } from "./support/chats.ts";
import { aChat, aWorld, call, control, fault, type World } from "./support/world.ts";

/** A webhook is only a hint: what get-chat answers is stored. */
const between = await aRetellBetween();
afterEach(() => {
  vi.useRealTimers();
});

const reads = async (chatId: string) =>
  (await control("retell", "GET", `/requests?step=retrieve&chat_id=${chatId}`)).requests.length;

/** Adds fields to the answers of get-chat. */
const readsAs = (more: Record<string, unknown>) => {
  between.after = (path, answer) => path.startsWith("/get-chat/") && Object.assign(answer, more);
};

/** A chat that is over at Retell, with its id as a webhook names it. */
async function anEnded(world: World) {
  const chatId = await aChat(world);
  await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
  return { chatId, named: { chat_id: chatId, agent_id: world.agentId, chat_status: "ended" } };
}

describe("a webhook that lacks the messages", () => {
  it("fails no send whose outcome is unknown: get-chat has it, and its reply", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "drop", effect: "before" });
    await fault(world, "retrieve", { kind: "status", status: 503 });
    const headers = { "idempotency-key": "k" };
    const send = () => call("message", { ...at(world, chatId), body: { content: "ping" }, headers });
    expect((await send()).body.details.outcome).toBe("unknown");

    const named = { chat_id: chatId, agent_id: world.agentId, chat_status: "ended", transcript: "User: ping\n" };
    await tell(world, "chat_analyzed", { ...named, chat_analysis: { chat_summary: "s" } });
    const { body } = await call("transcript", at(world, chatId));
    expect(body.data.chat_status).toBe("ended");
    expect(body.data.messages.map(({ role, delivery }: Record<string, string>) => [role, delivery])).toEqual([
      ["agent", undefined],
      ["user", undefined],
      ["agent", undefined],
    ]);
    expect((await send()).headers["idempotent-replayed"]).toBe("true");
  });

  it("leaves the send open where Retell cannot be read, and the sweep looks soon", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "drop", effect: "before" });
    await fault(world, "retrieve", { kind: "status", status: 503, count: 2 });
    await call("message", { ...at(world, chatId), body: { content: "ping" } });
    await tell(world, "chat_ended", { chat_id: chatId, agent_id: world.agentId, chat_status: "ended" });
    const chat = await stored(world, chatId);
    expect(chat).toMatchObject({ chat_status: "ended", internal: { turn: { state: "unknown" } } });
    expect(chat?.internal.nextSweepAt - Date.now()).toBeLessThan(60_000);

    await sweepLater(world, chatId);
    expect((await stored(world, chatId))?.messages).toHaveLength(3);
  });
});

describe("a webhook's values", () => {
  it("that are placeholders count for nothing, and the sweep goes on looking", async () => {
    const world = await aWorld({ agentId: `agent_a_${crypto.randomUUID()}` });
    await control("retell", "PUT", `/agents/${world.agentId}`, { analysis: "none" });
    const { chatId, named } = await anEnded(world);
    const empty = { chat_summary: null, user_sentiment: "", custom_analysis_data: { order: [], more: {} } };
    await tell(world, "chat_ended", {
      ...named,
      chat_analysis: empty,
      chat_cost: { combined_cost: null, product_costs: [] },
      collected_dynamic_variables: { order: "" },
    });
    const placeholder = await stored(world, chatId);
    expect([placeholder?.chat_analysis, placeholder?.chat_cost]).toEqual([null, null]);
    expect(placeholder?.internal.nextSweepAt).toBeInstanceOf(Date);

    const real = { chat_summary: "short", user_sentiment: "Positive", custom_analysis_data: { order: "1042" } };
    const cost = { combined_cost: 3, product_costs: [{ product: "chat_text", cost: 3 }] };
    const collected = { order: "1042" };
    const told = { ...named, chat_analysis: real, chat_cost: cost, collected_dynamic_variables: collected };
    await tell(world, "chat_analyzed", told);
    await tell(world, "chat_analyzed", { ...told, chat_analysis: empty, chat_cost: { product_costs: [] } });
    await sweepLater(world, chatId);
    const chat = await stored(world, chatId);
    expect(chat).toMatchObject({ chat_analysis: real, chat_cost: cost, collected_dynamic_variables: collected });
    expect(chat?.internal.nextSweepAt).toBeUndefined();
  });

  it("are read at Retell once where they are news, and what it says now stands", async () => {
    const world = await aWorld();
    const { chatId, named } = await anEnded(world);
    const first = {
      chat_analysis: { chat_summary: "first", custom_analysis_data: { topic: "lamps" } },
      chat_cost: { product_costs: [{ product: "chat_text", cost: 1 }] },
      collected_dynamic_variables: { step: "cart", order: "1042" },
    };
    readsAs(first);
    await tell(world, "chat_ended", named);
    expect(await stored(world, chatId)).toMatchObject(first);
    expect((await stored(world, chatId))?.internal.nextSweepAt).toBeInstanceOf(Date); // no combined_cost yet

    const second = {
      chat_analysis: { chat_summary: "second", custom_analysis_data: { topic: null } },
      chat_cost: { combined_cost: 2, product_costs: [{ product: "chat_text", cost: 2 }] },
      collected_dynamic_variables: { step: "paid" },
    };
    readsAs(second);
    const before = await reads(chatId);
    await tell(world, "chat_analyzed", { ...named, ...first, chat_cost: { combined_cost: 1 } }); // an old one
    await sweepLater(world, chatId); // reads nothing, as nothing is missing
    expect((await reads(chatId)) - before).toBe(1);
    const chat = await stored(world, chatId);
    expect(chat).toMatchObject({
      chat_analysis: { chat_summary: "second", custom_analysis_data: { topic: "lamps" } },
      chat_cost: second.chat_cost,
      collected_dynamic_variables: { step: "paid", order: "1042" },
    });
    expect(chat?.internal.nextSweepAt).toBeUndefined();
  });

  it("that Retell does not keep come from the webhook: words, text, what was collected, and the latest of each", async () => {
    const world = await aWorld();
    const { chatId, named } = await anEnded(world);
    between.after = (path, answer) => {
      if (!path.startsWith("/get-chat/")) return;
      for (const name of Object.keys(answer)) if (!(name in named)) delete answer[name];
    };
    const words = [
      { role: "agent", message_id: "m1", content: "Hello" },
      { role: "user", message_id: "m2", content: "bye" },
    ];
    const told = { ...named, transcript: "Agent: Hello\nUser: bye\n", message_with_tool_calls: words };
    await tell(world, "chat_ended", { ...told, collected_dynamic_variables: { step: "cart" } });
    await tell(world, "chat_analyzed", {
      ...told,
      collected_dynamic_variables: { step: "paid" },
      chat_analysis: { chat_summary: "s" },
    });
    await tell(world, "chat_ended", { ...told, collected_dynamic_variables: { step: "cart" } }); // again, late
    const chat = await stored(world, chatId);
    expect(chat).toMatchObject({ transcript: told.transcript, chat_analysis: { chat_summary: "s" } });
    expect(chat?.collected_dynamic_variables).toEqual({ step: "paid" });
    expect(chat?.messages.at(-1).content).toBe("bye");
  });
});

describe("what was stored of the end before Retell told all of it", () => {
  const trueEnd = Date.now() - 3 * 3_600_000;
  const entriesOf = (more: object[] = []) => [
    { role: "agent", message_id: "m0", content: "Hello" },
    { role: "user", message_id: "m1", content: "a lamp" },
    ...more,
  ];
  const ofText = (content: string) => entriesOf([{ role: "agent", message_id: "m2", content }]);

  it("is corrected: the time of the end, once get-chat tells another one than our clock", async () => {
    const world = await aWorld();
    const { chatId, named } = await anEnded(world);
    readsAs({ end_timestamp: trueEnd });
    await fault(world, "retrieve", { kind: "status", status: 503 });
    await tell(world, "chat_ended", named);
    expect(Date.now() - (await stored(world, chatId))?.end_timestamp).toBeLessThan(60_000);
    await sweepLater(world, chatId);
    expect(await stored(world, chatId)).toMatchObject({ end_timestamp: trueEnd, endedAt: new Date(trueEnd) });

    await tell(world, "chat_analyzed", {
      ...named,
      end_timestamp: trueEnd + 3_600_000,
      chat_cost: { combined_cost: 1 },
    });
    expect((await stored(world, chatId))?.end_timestamp).toBe(trueEnd);
  });

  it("is completed: a text by the later webhook, whose beginning is all that get-chat has", async () => {
    const world = await aWorld();
    const { chatId, named } = await anEnded(world);
    readsAs({ message_with_tool_calls: ofText("I have fou"), transcript: "" });
    await tell(world, "chat_ended", { ...named, message_with_tool_calls: ofText("I have fou") });
    expect((await stored(world, chatId))?.transcript).toMatch(/I have fou\n$/);
    const told = { ...named, message_with_tool_calls: ofText("I have found one") };
    await tell(world, "chat_analyzed", told);
    const chat = await stored(world, chatId);
    expect(chat?.messages.at(-1).content).toBe("I have found one");
    expect(chat?.transcript).toMatch(/User: a lamp\nAgent: I have found one\n$/);
  });

  it("is completed: the text of the whole chat, which was read too early", async () => {
    const world = await aWorld();
    const { chatId, named } = await anEnded(world);
    readsAs({ message_with_tool_calls: entriesOf(), transcript: "Agent: Hello\nUser: a lamp\n" });
    await tell(world, "chat_ended", named);
    const transcript = "Agent: Hello\nUser: a lamp\nAgent: which one?\n";
    readsAs({ message_with_tool_calls: ofText("which one?"), transcript });
    await sweepLater(world, chatId);
    expect((await stored(world, chatId))?.transcript).toBe(transcript);

    const longer = `${transcript}User: that one\n`;
    await tell(world, "chat_analyzed", { ...named, transcript: longer });
    expect((await stored(world, chatId))?.transcript).toBe(longer);
    const before = await reads(chatId);
    await tell(world, "chat_ended", { ...named, transcript: longer });
    expect((await reads(chatId)) - before).toBe(0);

    readsAs({ message_with_tool_calls: ofText("which one?"), transcript: "Agent: Hello\nUser: [scrubbed]\n" });
    await sweepLater(world, chatId);
    expect((await stored(world, chatId))?.transcript).toBe(longer);
  });
});

describe("a cost", () => {
  it.each<[unknown, unknown]>([
    ["12.5", 12.5],
    ["0", 0],
    ["much", undefined],
    [{}, undefined],
  ])("of %j is %j", async (combined_cost, number) => {
    const world = await aWorld({ agentId: `agent_a_${crypto.randomUUID()}` });
    await control("retell", "PUT", `/agents/${world.agentId}`, { analysis: "none" });
    const { chatId, named } = await anEnded(world);
    const told = { chat_analysis: { chat_summary: "s" }, chat_cost: { combined_cost, product_costs: [{ cost: 1 }] } };
    readsAs(told);
    await tell(world, "chat_analyzed", { ...named, ...told });
    const chat = await stored(world, chatId);
    expect([chat?.chat_cost.combined_cost, chat?.chat_cost.product_costs]).toEqual([number, [{ cost: 1 }]]);
    await sweepLater(world, chatId);
    expect((await stored(world, chatId))?.internal.nextSweepAt === undefined).toBe(number !== undefined);
  });
});

describe("a webhook that brings nothing new", () => {
  it("costs no read at Retell, and no write", async () => {
    const world = await aWorld();
    const { chatId, named } = await anEnded(world);
    const full = { chat_analysis: { chat_summary: "s", custom_analysis_data: {} }, chat_cost: { combined_cost: 2 } };
    readsAs(full);
    await tell(world, "chat_analyzed", { ...named, ...full });
    const [before, count] = [await stored(world, chatId), await reads(chatId)];
    for (const event of ["chat_analyzed", "chat_ended", "chat_started"])
      await tell(world, event, { ...named, ...full });
    await tell(world, "chat_ended", named);
    expect([await stored(world, chatId), await reads(chatId)]).toEqual([before, count]);
  });
});

describe("a webhook of the end", () => {
  it("is the end while get-chat lags behind, with the words of both", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const words = [
      { role: "agent", message_id: "m0", content: "Hello" },
      { role: "user", message_id: "m1", content: "from the dashboard" },
    ];
    await tell(world, "chat_ended", {
      chat_id: chatId,
      agent_id: world.agentId,
      chat_status: "ongoing", // the status does not matter
      end_timestamp: 1_795_475_267_630,
      message_with_tool_calls: words,
    });
    const chat = await stored(world, chatId);
    expect(chat).toMatchObject({ chat_status: "ended", end_timestamp: 1_795_475_267_630 });
    expect(chat?.messages.at(-1).content).toBe("from the dashboard");
    expect(chat?.internal.nextSweepAt).toBeInstanceOf(Date);
  });

  it("is stored within seconds where Retell says nothing, and the sweep fetches the rest", async () => {
    const world = await aWorld();
    const { chatId, named } = await anEnded(world);
    await fault(world, "retrieve", { kind: "hang" });
    const analysis = { chat_summary: "s", user_sentiment: "Positive" };
    const told = { ...named, chat_analysis: analysis, chat_cost: { combined_cost: 1 } };
    await tell(world, "chat_analyzed", told, 7_000); // of 8 s with Retell, 2 are left; test/failures.proof.ts waits for all
    const chat = await stored(world, chatId);
    expect(chat).toMatchObject({ chat_status: "ended", chat_analysis: analysis });
    expect(chat?.internal.nextSweepAt - Date.now()).toBeLessThan(60_000);

    readsAs({ collected_dynamic_variables: { step: "paid" }, chat_cost: { combined_cost: 2 } });
    await sweepLater(world, chatId);
    const after = await stored(world, chatId);
    expect(after).toMatchObject({ collected_dynamic_variables: { step: "paid" }, chat_cost: { combined_cost: 2 } });
  });
});
