import type { Document } from "mongodb";
import { describe, expect, it } from "vitest";
import type { AnalyticsBucket } from "../lib/chat/analytics/schema.ts";
import type { StoredChat, StoredMessage } from "../lib/chat/model.ts";
import { statsOf } from "../lib/chat/stats.ts";
import { indexes, statsIndex } from "../lib/platform/indexes.ts";
import { end, send, stored } from "./support/chats.ts";
import { aChat, aWorld, call, type Response, type World } from "./support/world.ts";

const hour = 3_600_000;

/** A tenant with the index that analytics use. */
async function anIndexedWorld(): Promise<World> {
  const world = await aWorld();
  const stats = indexes.tenant.find(({ key }) => key === statsIndex);
  await world.db.collection("chats").createIndex(statsIndex, stats?.options ?? {});
  return world;
}

const ask = ({ viewer, subaccountId }: World, query: Record<string, string>): Promise<Response> =>
  call("analytics", { token: viewer.token, subaccountId, query });

/** Stores chats that began at these times, without more than analytics read. */
async function begin(world: World, chats: ({ start_timestamp: unknown } & Document)[]): Promise<void> {
  const { subaccountId } = world;
  const documents = chats.map((chat) => ({ chat_id: `chat_${crypto.randomUUID()}`, subaccountId, ...chat }));
  await world.db.collection("chats").insertMany(documents);
}

const counted = ({ body }: Response): [string, number][] =>
  body.data.series.map(({ start, chats }: AnalyticsBucket) => [new Date(start).toISOString(), chats]);

describe("stats of a chat", () => {
  const agent = (created_timestamp?: number) => ({ role: "agent", created_timestamp }) as StoredMessage;
  const user = (created_timestamp?: number, internal?: StoredMessage["internal"]) =>
    ({ role: "user", created_timestamp, internal }) as StoredMessage;
  const of = (chat: object) =>
    statsOf({ start_timestamp: 1_000, end_timestamp: null, messages: [], ...chat } as unknown as StoredChat);

  it.each<[string, StoredMessage[], number, number]>([
    ["each answer from the message before it", [agent(0), user(10), agent(30), user(50), agent(55)], 2, 25],
    ["an answer of several messages once", [user(10), agent(20), agent(90)], 1, 10],
    ["the last of several messages in a row", [user(10), user(20), agent(25)], 1, 5],
    ["over a tool call", [user(10), { role: "tool_call_invocation" }, agent(40)], 1, 30],
    ["nothing from a failed message", [user(10), agent(20), user(30, { failed: true }), agent(40)], 1, 10],
    ["nothing from a message whose outcome is open", [user(10, { turn: "open" }), agent(20)], 0, 0],
    ["no answer that is older than its message", [user(10), agent(9)], 0, 0],
    ["no answer after more than an hour", [user(10), agent(11 + hour)], 0, 0],
    ["nothing without times", [user(), agent(9), user(5), agent()], 0, 0],
  ])("time %s", (_, messages, replies, reply_ms) => {
    expect(of({ messages, internal: { turn: { id: "open" } } })).toMatchObject({ replies, reply_ms });
  });

  it.each<[object, object]>([
    [{ end_timestamp: 61_000 }, { duration_ms: 60_000 }],
    [{ end_timestamp: 500 }, { duration_ms: null }],
    [{ end_timestamp: "later" }, { duration_ms: null }],
    [{ end_timestamp: 4e13 }, { duration_ms: null }],
    [{ chat_cost: { combined_cost: 12.5 } }, { cost: 12.5 }],
    [{ chat_cost: { combined_cost: -1 } }, { cost: null }],
    [{ chat_cost: { combined_cost: Number.NaN } }, { cost: null }],
    [{ chat_cost: "12" }, { cost: null }],
    [
      { chat_analysis: { user_sentiment: "POSITIVE", chat_successful: true } },
      { sentiment: "positive", successful: "yes" },
    ],
    [
      { chat_analysis: { user_sentiment: " neutral", chat_successful: false } },
      { sentiment: "neutral", successful: "no" },
    ],
    [
      { chat_analysis: { user_sentiment: "toString", chat_successful: "yes" } },
      { sentiment: "unknown", successful: "unknown" },
    ],
    [{ chat_analysis: { user_sentiment: ["positive"] } }, { sentiment: "unknown", successful: "unknown" }],
    [{ chat_analysis: null }, { sentiment: "unknown", successful: "unknown" }],
    [{ messages: [user(1), user(2, { failed: true }), { role: "system" }] }, { messages: 1 }],
  ])("of %j are %j", (chat, expected) => {
    expect(of(chat)).toMatchObject(expected);
  });

  it("are stored with its end, and never by a send", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await send(world, chatId);
    expect((await stored(world, chatId))?.internal.stats).toBeUndefined();
    await end(world, chatId);
    const chat = await stored(world, chatId);
    expect(chat?.internal.stats).toEqual(statsOf(chat as unknown as StoredChat));
    expect(chat?.internal.stats).toMatchObject({ messages: 3, replies: 1, duration_ms: expect.any(Number) });
  });
});

describe("analytics", () => {
  it("count what a chat's end has stored", async () => {
    const world = await anIndexedWorld();
    const chatId = await aChat(world);
    await send(world, chatId);
    await end(world, chatId);
    await aChat(world);
    const { body } = await ask(world, { group_by: "status" });
    expect(body.data.totals).toMatchObject({ chats: 2, ended: 1, messages: 3, sentiment: { unknown: 2 } });
    expect(body.data.totals.duration_ms.p50).toBeGreaterThanOrEqual(0);
    const groups = body.data.series.filter(({ chats }: AnalyticsBucket) => chats > 0);
    expect(groups.map(({ group }: AnalyticsBucket) => group)).toEqual(["ongoing", "ended"]);
  });

  it("say so when Mongo answers with an error: 503 ANALYTICS_FAILED", async () => {
    const world = await aWorld();
    await world.db.dropCollection("chats");
    const pipeline = [{ $match: { $expr: { $divide: [1, 0] } } }];
    await world.db.createCollection("chats", { viewOn: "nothing", pipeline });
    const { status, body } = await ask(world, {});
    expect([status, body.code]).toEqual([503, "ANALYTICS_FAILED"]);
  });

  // The days on which clocks change: the instant of each midnight, and chats at the last and first ms of each.
  it.each([
    ["Europe/Berlin", "2026-03-28T23:00", "2026-03-29T22:00", "2026-03-30T22:00"],
    ["Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00", "2026-10-26T23:00"],
    ["America/New_York", "2026-03-08T05:00", "2026-03-09T04:00", "2026-03-10T04:00"],
    ["America/New_York", "2026-11-01T04:00", "2026-11-02T05:00", "2026-11-03T05:00"],
    ["Asia/Kolkata", "2026-03-28T18:30", "2026-03-29T18:30", "2026-03-30T18:30"],
    ["Australia/Lord_Howe", "2026-04-04T13:00", "2026-04-05T13:30", "2026-04-06T13:30"],
    ["Australia/Lord_Howe", "2026-10-03T13:30", "2026-10-04T13:00", "2026-10-05T13:00"],
  ])("of days in %s begin at %s, %s and %s", async (timezone, ...midnights) => {
    const world = await shared;
    const starts = midnights.map((midnight) => Date.parse(`${midnight}Z`));
    const [first = 0, second = 0, third = 0] = starts;
    await world.db.collection("chats").deleteMany({});
    const at = [first - 1, first, second - 1, second, third - 1, third];
    await begin(
      world,
      at.map((start_timestamp) => ({ start_timestamp, agent_id: timezone })),
    );
    const query = { timezone, from: String(first - 1), to: String(third + 1) };
    const days = await ask(world, query);
    expect(counted(days).map(([, chats]) => chats)).toEqual([1, 2, 2, 1]);
    expect(
      counted(days)
        .map(([start]) => start)
        .slice(1),
    ).toEqual(starts.map((start) => new Date(start).toISOString()));
  });
});

const shared = anIndexedWorld();
