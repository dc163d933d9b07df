import "./support/own-retell.ts";
import type { Document } from "mongodb";
import { describe, expect, it } from "vitest";
import type { AnalyticsBucket } from "../lib/chat/analytics/schema.ts";
import type { StoredChat, StoredMessage } from "../lib/chat/model.ts";
import { statsOf } from "../lib/chat/stats.ts";
import { indexes, statsIndex } from "../lib/platform/indexes.ts";
import { end, read, send, stored, sweepLater, tell } from "./support/chats.ts";
import { tool } from "./support/tool.ts";
import { aChat, aWorld, call, control, type Response, type World } from "./support/world.ts";

const hour = 3_600_000;

/** As the old server ends it (test/old): no `internal`. */
const oldChat = {
  chat_id: "chat_98c944f3a1c0e8ac1a2b3c4d5e6",
  agent_id: "agent_shop",
  chat_status: "ended",
  end_timestamp: 1_759_311_720_000,
  messages: [
    { message_id: "m-1", role: "agent", content: "Hi! How can I help?", created_timestamp: 1_759_311_600_500 },
    { role: "user", content: "Where is my order?", created_timestamp: 1_759_311_630_000 },
    { message_id: "m-3", role: "agent", content: "Let me look.", created_timestamp: 1_759_311_632_000 },
    { role: "tool_call_invocation", created_timestamp: 1_759_311_632_100 },
    { message_id: "m-6", role: "agent", content: "It arrives on Friday.", created_timestamp: 1_759_311_634_000 },
  ],
  metadata: { crm_id: "C-98" },
  chat_cost: { combined_cost: 70 },
  chat_analysis: { user_sentiment: "Neutral", chat_successful: true },
};

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

/** A range that has the chats of Retell's clock too, which tests put forward. */
const soon = () => ({ to: String(Date.now() + hour) });

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

/** Three ways to learn of an end at once, and again: a webhook, a read and a sweep. */
async function tellAgain(world: World, chatId: string): Promise<void> {
  const chat = await control("retell", "GET", `/chats/${chatId}`);
  const { entries: _list, ...told } = chat;
  const event = { ...told, chat_id: chatId, chat_status: "ended" };
  await Promise.all([tell(world, "chat_ended", event), read(world, chatId), end(world, chatId)]);
  await Promise.all([tell(world, "chat_analyzed", event), sweepLater(world, chatId)]);
}

it("ends, webhooks, reads and sweeps in any number leave the same stats, and count a chat once", async () => {
  const world = await anIndexedWorld();
  const chatId = await aChat(world);
  await send(world, chatId);
  await tellAgain(world, chatId);
  await control("retell", "POST", "/clock", { advanceMs: 60_000 }); // by then Retell has analyzed the chat
  await sweepLater(world, chatId);
  const before = await stored(world, chatId);
  await tellAgain(world, chatId);
  const after = await stored(world, chatId);
  expect(after?.internal.stats).toEqual(before?.internal.stats);
  expect(after?.internal.stats).toEqual(statsOf(after as unknown as StoredChat));
  expect(after?.internal.stats).toMatchObject({ messages: 3, replies: 1, cost: expect.any(Number) });
  const { chats, ended, messages, cost_cents } = (await ask(world, soon())).body.data.totals;
  expect([chats, ended, messages, cost_cents]).toEqual([1, 1, 3, after?.chat_cost.combined_cost]);
});

it("a sweep mends stats that are missing, in the write that it makes anyway", async () => {
  const world = await aWorld();
  const chatId = await aChat(world);
  await end(world, chatId);
  const { stats } = (await stored(world, chatId))?.internal ?? {};
  await world.db.collection("chats").updateOne({ chat_id: chatId }, { $unset: { "internal.stats": "" } });
  await sweepLater(world, chatId);
  expect((await stored(world, chatId))?.internal.stats).toMatchObject({ messages: stats.messages, replies: 0 });
});

describe("npm run ops -- backfill", () => {
  it("writes stats, tags and words of what is there, says so, and writes nothing twice", async () => {
    const world = await anIndexedWorld();
    const { subaccountId } = world;
    const old = { ...oldChat, subaccountId, start_timestamp: Date.now() };
    const ours = await aChat(world, { metadata: { crm_id: "C-99" } });
    await end(world, ours);
    const chats = world.db.collection("chats");
    await chats.insertOne(old);
    const missing = { "internal.stats": "", "internal.tags": "", "internal.wordsRevision": "" };
    await chats.updateOne({ chat_id: ours }, { $unset: missing });
    await world.db.collection("chatwords").deleteMany({});
    const run = async (...args: string[]) =>
      (await tool("backfill", ["--subaccount", subaccountId, "--yes", ...args])).stdout;

    expect(await run("--dry-run")).toContain("2 chats read; missing: stats 2, tags 2, words 2; changed meanwhile: 0");
    expect(await chats.countDocuments({ "internal.stats": { $exists: true } })).toBe(0);
    expect(await run()).toContain("2 chats read; written: stats 2, tags 2, words 2; changed meanwhile: 0");
    expect((await stored(world, ours))?.internal).toMatchObject({
      stats: { messages: 1 },
      tags: expect.arrayContaining(["crm_id=C-99"]),
    });
    expect((await stored(world, old.chat_id))?.internal.stats).toEqual({
      ...{ messages: 4, duration_ms: null, cost: 70, replies: 1, reply_ms: 2_000 },
      ...{ sentiment: "neutral", successful: "yes" },
    });
    expect(await world.db.collection("chatwords").countDocuments()).toBe(2);
    expect((await ask(world, soon())).body.data.totals).toMatchObject({
      chats: 2,
      messages: 5,
      successful: { yes: 1 },
    });
    // A chat of the old server has no revision, so that its words are written each time.
    expect(await run()).toContain("2 chats read; written: stats 0, tags 0, words 1; changed meanwhile: 0");
  });

  it("needs a subaccount, or --all", async () => {
    expect((await tool("backfill", [])).stderr).toContain("--subaccount ID or --all is needed");
  });
});

describe("analytics", () => {
  it("count what a chat's end has stored", async () => {
    const world = await anIndexedWorld();
    const chatId = await aChat(world);
    await send(world, chatId);
    await end(world, chatId);
    await aChat(world);
    const { body } = await ask(world, { ...soon(), group_by: "status" });
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

  it("of weeks and months begin on Mondays and firsts, and hours of the day are those of the clock", async () => {
    const world = await shared;
    await world.db.collection("chats").deleteMany({});
    const times = ["2026-03-29T00:30Z", "2026-03-29T21:59Z", "2026-03-29T22:00Z", "2026-03-31T22:00Z"];
    await begin(
      world,
      times.map((time) => ({ start_timestamp: Date.parse(time) })),
    );
    const query = { timezone: "Europe/Berlin", from: "2026-03-25T00:00:00+01:00", to: "2026-04-02T00:00:00+02:00" };
    expect(counted(await ask(world, { ...query, interval: "week" }))).toEqual([
      ["2026-03-22T23:00:00.000Z", 2],
      ["2026-03-29T22:00:00.000Z", 2],
    ]);
    expect(counted(await ask(world, { ...query, interval: "month" }))).toEqual([
      ["2026-02-28T23:00:00.000Z", 3],
      ["2026-03-31T22:00:00.000Z", 1],
    ]);
    const hours = (await ask(world, { ...query, interval: "hour_of_day" })).body.data.series;
    const busy = hours.filter(({ chats }: AnalyticsBucket) => chats > 0);
    expect(busy.map(({ start, chats }: AnalyticsBucket) => [start, chats])).toEqual([
      [0, 2],
      [1, 1],
      [23, 1],
    ]);
    expect(hours).toHaveLength(24);
  });

  it("leave out tombstones, other tenants' chats, and chats whose start is no number above 0", async () => {
    const world = await shared;
    await world.db.collection("chats").deleteMany({});
    const [now, chatId] = [Date.now(), await aChat(world)];
    const odd = [0, -5, null, "1759398000000", new Date(now), Number.NaN, { $a: 1 }, [now, "x"]];
    await begin(world, [...odd.map((start_timestamp) => ({ start_timestamp })), { start_timestamp: now }]);
    await begin({ ...world, subaccountId: "64b000000000000000000009" }, [{ start_timestamp: now }]);
    await call("delete", { token: world.owner.token, subaccountId: world.subaccountId, chatId });
    expect((await ask(world, {})).body.data.totals.chats).toBe(1);
    expect((await ask(world, { from: "0", to: "86400000" })).body.data.totals.chats).toBe(0);
  });

  it("name the 50 agents with the most chats, and give all others and odd ones the group null", async () => {
    const world = await shared;
    await world.db.collection("chats").deleteMany({});
    const from = Date.UTC(2026, 5, 1);
    const agent = (index: number) => `agent_${String(index).padStart(2, "0")}`;
    const many = Array.from({ length: 52 }, (_, index) =>
      Array.from({ length: 60 - index }, () => agent(index)),
    ).flat();
    await begin(
      world,
      [...many, 7, null].map((agent_id) => ({ start_timestamp: from, agent_id })),
    );
    const query = { from: String(from), to: String(from + 1), group_by: "agent_id" };
    const { series, totals } = (await ask(world, query)).body.data;
    const chats = series.map((bucket: AnalyticsBucket) => [bucket.group, bucket.chats]);
    expect(chats).toEqual([
      ...Array.from({ length: 50 }, (_, index) => [agent(index), 60 - index]),
      [null, 10 + 9 + 2],
    ]);
    expect(totals.chats).toBe(many.length + 2);
    const wide = await ask(world, { ...query, to: String(from + 40 * 24 * hour) });
    expect([wide.status, wide.body.errors]).toEqual([
      400,
      [{ field: "interval", in: "query", message: expect.stringContaining("2040 buckets") }],
    ]);
  });

  it.each([
    ["timezone", { timezone: "Europe/Atlantis" }],
    ["timezone", { timezone: "UTC,UTC" }],
    ["timezone", { timezone: "$timezone" }],
    ["from", { from: "2026-02-01T00:00:00Z", to: "2026-01-01T00:00:00Z" }],
    ["from", { from: "1", to: "1" }],
    ["from", { from: "2025-01-01T00:00:00Z", to: "2026-03-01T00:00:00Z" }],
    ["from", { from: "yesterday" }],
    ["from", { from: "2026-01-01" }],
    ["from", { from: "1,2" }],
    ["to", { to: "99999999999999999" }],
    ["to", { to: "-1" }],
    ["interval", { interval: "year" }],
    ["interval", { interval: "day,day" }],
    ["group_by", { group_by: "createdBy" }],
  ])("refuse a wrong %s: %j", async (field, query) => {
    const { status, body } = await ask(await shared, query);
    expect([status, body.errors?.map((error: { field: string }) => error.field)]).toEqual([400, [field]]);
  });

  it("read the index alone, and no chat", async () => {
    const world = await anIndexedWorld(); // a list in the index makes Mongo read the chats
    const commands: Document[] = [];
    const chats = world.db.collection("chats");
    await chats.deleteMany({});
    await begin(world, [{ start_timestamp: Date.now() }]);
    await world.db.command({ profile: 2 });
    for (const group_by of ["agent_id", "status", "sentiment"]) await ask(world, { group_by });
    await world.db.command({ profile: 0 });
    const profiled = world.db.collection("system.profile").find({ "command.aggregate": "chats" });
    for await (const { docsExamined, keysExamined, planSummary } of profiled)
      commands.push({ docsExamined, keysExamined, planSummary });
    expect(commands.length).toBeGreaterThanOrEqual(7);
    for (const { docsExamined, planSummary } of commands) {
      expect([docsExamined, planSummary]).toEqual([
        0,
        expect.stringMatching(/^IXSCAN \{ subaccountId: 1, start_timestamp: -1/),
      ]);
    }
  });

  it.each([1, 2, 3])("are what a plain sum over random chats gives (seed %i)", async (seed) => {
    const world = await shared;
    await world.db.collection("chats").deleteMany({});
    const random = randomOf(seed);
    const any = <T>(...values: T[]): T => values[Math.floor(random() * values.length)] as T;
    const from = Date.UTC(2026, any(1, 8), 20);
    const to = from + 60 * 24 * hour;
    const chats = Array.from({ length: 300 }, () => aRandomChat(from, to, random, any));
    await begin(
      world,
      chats.map(({ messages: _unread, ...chat }) => chat),
    );
    for (let round = 0; round < 8; round++) {
      const query = {
        from: String(from + Math.floor(random() * 10 * 24 * hour)),
        to: String(to - Math.floor(random() * 10 * 24 * hour)),
        interval: any("day", "week", "month", "hour_of_day"),
        timezone: any("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"),
      };
      const group_by = any("agent_id", "status", "sentiment", undefined);
      const { body } = await ask(world, { ...query, ...(group_by ? { group_by } : {}) });
      const { totals, series } = plainly(chats, query, group_by);
      expect(body.data.totals).toEqual(totals);
      const filled = body.data.series.filter(({ chats }: AnalyticsBucket) => chats > 0);
      expect(Object.fromEntries(filled.map((bucket: AnalyticsBucket) => labelled(bucket, query)))).toEqual(series);
    }
  });
});

const shared = anIndexedWorld();

/** Numbers from 0 to 1 that are the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A chat with the stats that its end stores; some are ongoing, and some have none yet. */
function aRandomChat(from: number, to: number, random: () => number, any: <T>(...values: T[]) => T) {
  const start_timestamp = from + Math.floor(random() * (to - from));
  const messages = Array.from({ length: Math.floor(random() * 9) }, () => ({
    role: any("agent", "user", "tool_call_invocation"),
    created_timestamp: any(start_timestamp + Math.floor(random() * hour), undefined),
    internal: any({}, {}, { failed: true as const }),
  })) as StoredMessage[];
  const chat_status = any("ongoing", "ended", "ended", "error");
  const chat = {
    start_timestamp,
    end_timestamp: any(start_timestamp + Math.floor(random() * 9 * hour), null, start_timestamp - 1),
    messages,
    agent_id: any("agent_a", "agent_b", "agent_c"),
    chat_status,
    chat_cost: any({ combined_cost: Math.floor(random() * 100) / 4 }, null),
    chat_analysis: any(
      { user_sentiment: any("Positive", "Negative", "Neutral", "Odd"), chat_successful: any(true, false) },
      null,
    ),
  };
  const isKnown = chat_status !== "ongoing" && random() < 0.9;
  return { ...chat, internal: isKnown ? { stats: statsOf(chat as unknown as StoredChat) } : {} };
}

type RandomChat = ReturnType<typeof aRandomChat>;
interface Asked {
  from: string;
  to: string;
  interval: string;
  timezone: string;
}

/** A bucket by its first day on the calendar, or its hour, and its group. */
function labelled({ start, group, ...measures }: AnalyticsBucket, { interval, timezone }: Asked): [string, object] {
  return [`${interval === "hour_of_day" ? start : dayOf(start, timezone)} ${group}`, measures];
}

const dayOf = (instant: number, timeZone: string) => new Intl.DateTimeFormat("en-CA", { timeZone }).format(instant);

/** What analytics should say, by the calendar and a loop. */
function plainly(chats: RandomChat[], { from, to, interval, timezone }: Asked, group_by: string | undefined) {
  const inRange = chats.filter(({ start_timestamp: at }) => at >= Number(from) && at < Number(to));
  const label = ({ start_timestamp, agent_id, chat_status, internal }: RandomChat) => {
    const day = dayOf(start_timestamp, timezone);
    const weekday = (new Date(day).getUTCDay() + 6) % 7;
    const monday = new Date(Date.parse(day) - weekday * 24 * hour).toISOString().slice(0, 10);
    const clock = { timeZone: timezone, hour: "numeric", hourCycle: "h23" } as const;
    const bucket = {
      day,
      week: monday,
      month: `${day.slice(0, 7)}-01`,
      hour_of_day: Number(new Intl.DateTimeFormat("en", clock).format(start_timestamp)),
    }[interval];
    const groups: Record<string, string> = {
      agent_id,
      status: chat_status,
      sentiment: internal.stats?.sentiment ?? "unknown",
    };
    return `${bucket} ${group_by && groups[group_by]}`;
  };
  const series = Array.from(Map.groupBy(inRange, label), ([name, some]) => [name, measured(some)]);
  return { totals: measured(inRange), series: Object.fromEntries(series) };
}

function measured(chats: RandomChat[]) {
  const stats = chats.map(({ internal }) => internal.stats);
  const sum = (value: (one: NonNullable<(typeof stats)[number]>) => number) =>
    stats.reduce((total, one) => total + (one ? value(one) : 0), 0);
  const count = (is: (one: RandomChat) => boolean) => chats.filter(is).length;
  const durations = stats.flatMap((one) => one?.duration_ms ?? []).sort((a, b) => a - b);
  const replies = sum((one) => one.replies);
  const sentimentIs = (name: string) => count(({ internal }) => (internal.stats?.sentiment ?? "unknown") === name);
  const successfulIs = (name: string) => count(({ internal }) => (internal.stats?.successful ?? "unknown") === name);
  return {
    chats: chats.length,
    ended: count(({ chat_status }) => chat_status === "ended"),
    errors: count(({ chat_status }) => chat_status === "error"),
    messages: sum((one) => one.messages),
    duration_ms: {
      avg: durations.length > 0 ? Math.round(durations.reduce((a, b) => a + b, 0) / durations.length) : null,
      p50: durations[Math.ceil(durations.length * 0.5) - 1] ?? null,
      p95: durations[Math.ceil(durations.length * 0.95) - 1] ?? null,
    },
    reply_ms: { avg: replies > 0 ? Math.round(sum((one) => one.reply_ms) / replies) : null },
    successful: { yes: successfulIs("yes"), no: successfulIs("no"), unknown: successfulIs("unknown") },
    sentiment: {
      positive: sentimentIs("positive"),
      negative: sentimentIs("negative"),
      neutral: sentimentIs("neutral"),
      unknown: sentimentIs("unknown"),
    },
    cost_cents: sum((one) => one.cost ?? 0),
  };
}
