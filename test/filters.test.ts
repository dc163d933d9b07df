import "./support/unlimited.ts";
import fc from "fast-check";
import type { Document } from "mongodb";
import { describe, expect, it } from "vitest";
import { tagsOf } from "../lib/chat/tags.ts";
import { ensureIndexes } from "../lib/platform/indexes.ts";
import { runs } from "./support/runs.ts";
import { aChat, aWorld, call, type World } from "./support/world.ts";

const world = await aWorld();
const other = await aWorld();
await ensureIndexes(world.db, "tenant");

const list = (query: Record<string, string> = {}, of: World = world) =>
  call("list", { token: of.viewer.token, subaccountId: of.subaccountId, query });

type Answer = Awaited<ReturnType<typeof list>>;
const idsOf = ({ body }: Answer): string[] => body.data.map(({ chat_id }: { chat_id: string }) => chat_id);
const fieldsOf = ({ status, body }: Answer) => [status, ...(body.errors ?? []).map(({ field }: Document) => field)];

/** Chats straight into the collection, as the product stores them. */
async function store(chats: Document[], of: World = world): Promise<void> {
  const documents = chats.map(({ stats, ...chat }, index) => {
    const fields = { chat_id: `chat_${String(index).padStart(5, "0")}`, metadata: {}, ...chat };
    return {
      agent_id: "agent_a",
      chat_status: "ended",
      createdBy: "user_a",
      start_timestamp: index,
      end_timestamp: null,
      message_count: 0,
      messages: [],
      subaccountId: of.subaccountId,
      ...fields,
      internal: { revision: 1, retellUserCount: 0, tags: tagsOf(fields), ...(stats ? { stats } : {}) },
    };
  });
  await of.db.collection("chats").deleteMany({});
  await of.db.collection("chats").insertMany(documents);
}

/** All pages of a list. */
async function pagesOf(query: Record<string, string>): Promise<{ ids: string[]; answers: Answer[] }> {
  const answers: Answer[] = [];
  let cursor: string | undefined;
  do {
    const answer = await list({ ...query, ...(cursor ? { cursor } : {}) });
    expect(answer.status).toBe(200);
    answers.push(answer);
    cursor = answer.body.meta.nextCursor;
    expect(answer.body.meta.hasMore).toBe(cursor !== undefined);
  } while (cursor);
  return { ids: answers.flatMap(idsOf), answers };
}

const agents = ["agent_a", "agent_b", "agent_c"];
const users = ["user_a", "user_b"];
const people = ["ana", "bo 1", "周"];
const statuses = ["ongoing", "ended", "error"];
const sentiments = ["positive", "negative", "neutral", "unknown"];

describe("a filtered list", () => {
  it("has the chats that match, each once, in order, by any filters, sort and page size", async () => {
    const kinds: { end_user_id?: string; metadata: Record<string, unknown> }[] = [
      { end_user_id: "ana", metadata: { tier: "gold", seats: 3, trial: true } },
      { end_user_id: "bo 1", metadata: { tier: "gold", seats: "3", end_user_id: "ana" } },
      { metadata: { tier: "silver", "a=b": "c", seats: [3] } },
      { end_user_id: "周", metadata: { a: "b=c", tier: { gold: "gold" } } },
    ];
    const chats = Array.from({ length: 120 }, (_, i) => ({
      ...(kinds[i % 4] as (typeof kinds)[0]),
      chat_id: `chat_${String(i).padStart(5, "0")}`,
      agent_id: agents[i % 3] as string,
      createdBy: users[(i >> 1) % 2] as string,
      chat_status: statuses[(i * 7) % 3] as string,
      start_timestamp: Math.floor(i / 3) * 1_000,
      ...(i % 5 === 0 ? {} : { stats: { sentiment: sentiments[i % 4], successful: ["yes", "no", "unknown"][i % 3] } }),
    }));
    await store(chats);
    await store([{ ...chats[0], chat_id: "chat_of_another_tenant" }], other);

    const some = (values: string[]) =>
      fc.option(
        fc.subarray(values, { minLength: 1 }).map((chosen) => chosen.join()),
        { nil: undefined, freq: 1 },
      );
    const query = fc.record({
      status: some(statuses),
      agent_id: some(agents),
      created_by: some(users),
      end_user_id: some(people),
      sentiment: some(sentiments),
      successful: some(["true", "false"]),
      started_after: fc.option(fc.nat(40_000).map(String), { nil: undefined }),
      "metadata.tier": some(["gold", "silver"]),
      "metadata.seats": some(["3", "4"]),
      "metadata.a": some(["b=c"]),
      sort: fc.option(fc.constantFrom("start_timestamp", "-start_timestamp"), { nil: undefined }),
      limit: fc.constantFrom("1", "7", "50"),
    });
    const has = (wanted: string | undefined, value: unknown) =>
      wanted === undefined ||
      (["string", "number", "boolean"].includes(typeof value) && wanted.split(",").includes(String(value)));
    await fc.assert(
      fc.asyncProperty(query, async (all) => {
        const asked = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as typeof all;
        const expected = chats
          .filter((chat) => {
            const { sentiment = "unknown", successful } = chat.stats ?? {};
            const { metadata } = chat;
            return (
              has(asked.status, chat.chat_status) &&
              has(asked.agent_id, chat.agent_id) &&
              has(asked.created_by, chat.createdBy) &&
              has(asked.end_user_id, chat.end_user_id) &&
              has(asked.sentiment, sentiment) &&
              has(asked.successful, { yes: "true", no: "false" }[successful ?? ""]) &&
              chat.start_timestamp >= Number(asked.started_after ?? 0) &&
              has(asked["metadata.tier"], metadata.tier) &&
              has(asked["metadata.seats"], metadata.seats) &&
              has(asked["metadata.a"], metadata.a)
            );
          })
          .sort((a, b) => b.start_timestamp - a.start_timestamp || (a.chat_id < b.chat_id ? 1 : -1))
          .map(({ chat_id }) => chat_id);
        if (asked.sort === "start_timestamp") expected.reverse();
        const { ids, answers } = await pagesOf({ ...(asked as Record<string, string>), include: "total" });
        expect(ids).toEqual(expected);
        expect(answers[0]?.body.meta.total).toEqual({ value: expected.length, relation: "eq" });
      }),
      { numRuns: runs(60) },
    );
  });

  it("reads times with an offset, also where the plus came as a space; before is exclusive, after inclusive", async () => {
    const at = Date.parse("2026-03-29T01:30:00+01:00");
    await store([{ start_timestamp: at - 1 }, { start_timestamp: at }, { start_timestamp: at + 1 }]);
    for (const text of [
      "2026-03-29T01:30:00+01:00",
      "2026-03-29T00:30:00.000z",
      "2026-03-29T01:30 01:00",
      String(at),
    ]) {
      expect(idsOf(await list({ started_after: text }))).toEqual(["chat_00002", "chat_00001"]);
      expect(idsOf(await list({ started_before: text }))).toEqual(["chat_00000"]);
    }
    expect(idsOf(await list({ sentiment: "Unknown,POSITIVE" }))).toHaveLength(3);
  });

  it("tells what it ignored, and is not cached, neither read nor filled", async () => {
    await store([{}, { chat_status: "ongoing" }]);
    expect((await list({ utm_source: "x" })).body.meta).toMatchObject({ ignored: ["utm_source"] });
    expect((await list()).body.meta.ignored).toBeUndefined();
    for (const query of ["status=ended", "status=ended", "sort=start_timestamp", "include=total"]) {
      expect((await list(Object.fromEntries(new URLSearchParams(query)))).body.meta.cached).toBe(false);
    }
    const names = [...Array(50).keys()].map((i) => [`${i}${"n".repeat(100)}`, "1"]);
    const { ignored } = (await list({ ...Object.fromEntries(names), constructor: "1" })).body.meta;
    expect([ignored.length, Math.max(...ignored.map(({ length }: string) => length))]).toEqual([20, 64]);
  });

  it("does not show what was deleted", async () => {
    await store([{}, {}]);
    const tombstone = { "internal.tombstone": { at: new Date(), why: "deleted" } };
    await world.db.collection("chats").updateOne({ chat_id: "chat_00001" }, { $set: tombstone });
    const answer = await list({ status: "ended", include: "total" });
    expect([idsOf(answer), answer.body.meta.total]).toEqual([["chat_00000"], { value: 1, relation: "eq" }]);
  });
});

/** A page of a list, and what MongoDB has examined for it. */
async function examined(query: Record<string, string>) {
  await world.db.collection("system.profile").drop();
  await world.db.command({ profile: 2 });
  const answer = await list(query);
  await world.db.command({ profile: 0 });
  const found = await world.db
    .collection("system.profile")
    .find({ ns: /\.chats$/, keysExamined: { $gte: 0 } })
    .toArray();
  const sum = (name: string) => found.reduce((total, command) => total + command[name], 0);
  const most = Math.max(...found.map(({ keysExamined }) => keysExamined));
  const sorts = found.some(({ hasSortStage }) => hasSortStage);
  return { answer, keys: sum("keysExamined"), most, documents: sum("docsExamined"), sorts };
}

describe("what a filtered list examines", () => {
  it("is twice its page at most, by each filter and the common pairs, on every page", async () => {
    await store(
      Array.from({ length: 2_000 }, (_, i) => ({
        agent_id: agents[i % 3],
        createdBy: users[(i >> 1) % 2],
        chat_status: statuses[i % 3],
        end_user_id: people[i % 3],
        metadata: { tier: i % 2 ? "gold" : "silver" },
        start_timestamp: i * 1_000,
        ...(i % 10 === 9 ? {} : { stats: { sentiment: sentiments[i % 4], successful: i % 9 === 0 ? "no" : "yes" } }),
      })),
    );
    const since = { started_after: "500000", started_before: "1500000" };
    const queries: Record<string, string>[] = [
      { status: "ended" },
      { status: "ended,error" },
      { agent_id: "agent_b" },
      { agent_id: agents.join() },
      { created_by: "user_b" },
      { end_user_id: "ana,周" },
      { "metadata.tier": "gold" },
      { sentiment: "negative" },
      { sentiment: "unknown" },
      { successful: "false" },
      { sentiment: "negative,neutral", successful: "false" },
      since,
      { agent_id: "agent_b", status: "ended" },
      { agent_id: "agent_b", ...since },
      { status: "ended,error", ...since },
      { created_by: "user_a", ...since },
      { "metadata.tier": "gold", ...since },
      { end_user_id: "ana", ...since },
      { sentiment: "positive", ...since },
      { sort: "start_timestamp", agent_id: "agent_b" },
    ];
    const limit = 50;
    const upTo = (most: number) => expect.toSatisfy((count: number) => count > 0 && count <= most);
    // A last page is read twice, and each value of a filter has a range of keys with an end.
    const few = { keys: upTo(2 * limit + 20), documents: upTo(2 * limit + 20), most: upTo(2 * limit), sorts: false };
    for (const query of queries) {
      const { answer: first, ...one } = await examined({ ...query, limit: String(limit) });
      expect({ query, ...one }).toEqual({ query, ...few });
      const { nextCursor } = first.body.meta;
      if (nextCursor === undefined) continue;
      const { answer: _second, ...two } = await examined({ ...query, limit: String(limit), cursor: nextCursor });
      expect({ query, ...two }).toEqual({ query, ...few });
    }
  });

  it("is 10,000 at most: then the page is partial, maybe empty, and its cursor goes on", async () => {
    await store(
      Array.from({ length: 12_000 }, (_, i) => ({ createdBy: i === 3 || i === 5_000 ? "user_rare" : "user_a" })),
    );
    const query = { agent_id: "agent_a", created_by: "user_rare", limit: "5" };
    const { ids, answers } = await pagesOf(query);
    expect(ids).toEqual(["chat_05000", "chat_00003"]);
    expect(answers.map(({ body: { data, meta } }) => [data.length, meta.partial])).toEqual([
      [0, true],
      [1, true],
      [1, undefined],
    ]);
    expect((await examined(query)).keys).toBeLessThanOrEqual(10_010);
    const counted = await examined({ agent_id: "agent_a", include: "total", limit: "1" });
    expect(counted.answer.body.meta.total).toEqual({ value: 10_000, relation: "gte" });
    expect(counted.keys).toBeLessThanOrEqual(10_010);
    const { total } = (await list({ ...query, include: "total" })).body.meta;
    expect(total).toEqual({ value: expect.toBeOneOf([0, 1]), relation: "gte" });
  });

  it("is more, but right, where the database lacks the index", async () => {
    const bare = await aWorld();
    await store([{ end_user_id: "ana" }, {}], bare);
    expect(idsOf(await list({ end_user_id: "ana", include: "total" }, bare))).toEqual(["chat_00000"]);
  });
});

describe("a filter that is refused", () => {
  it.each<[string, Record<string, string>, string]>([
    ["an unknown status", { status: "over" }, "status.0"],
    ["21 values", { agent_id: [...Array(21).keys()].join() }, "agent_id"],
    ["a value of 129 characters", { created_by: "x".repeat(129) }, "created_by.0"],
    ["a time without a zone", { started_after: "2026-01-01T00:00:00" }, "started_after"],
    ["a time that never was", { started_after: "2026-13-01T00:00:00Z" }, "started_after"],
    ["a day that never was", { started_after: "2026-02-30T00:00:00Z" }, "started_after"],
    ["a time beyond all dates", { started_before: "9999999999999999" }, "started_before"],
    ["before not after after", { started_after: "2000", started_before: "2000" }, "started_before"],
    ["a sentiment of its own", { sentiment: "happy" }, "sentiment.0"],
    ["a success of its own", { successful: "yes" }, "successful.0"],
    ["another sort", { sort: "message_count" }, "sort"],
    ["an operator as a key", { "metadata.$where": "1" }, "metadata.$where"],
    ["a path as a key", { "metadata.a.b": "1" }, "metadata.a.b"],
    ["no key", { "metadata.": "1" }, "metadata."],
    ["a prototype's key", { "metadata.__proto__": "1" }, "metadata.__proto__"],
    [
      "four keys of metadata",
      Object.fromEntries(["a", "b", "c", "d"].map((k) => [`metadata.${k}`, "1"])),
      "metadata.d",
    ],
    ["a cursor of nothing", { status: "ended", cursor: "AAAA" }, "cursor"],
  ])("%s", async (_what, query, field) => {
    expect(fieldsOf(await list(query))).toEqual([400, field]);
  });

  it("a filter that is given twice", async () => {
    const { default: handler } = { default: (await import("../functions/list.ts")).handler };
    const { aContext, eventFor } = await import("./support/world.ts");
    const event = eventFor("list", {
      token: world.viewer.token,
      subaccountId: world.subaccountId,
      query: { status: "ended,error" },
    });
    const twice = { ...event, rawQueryString: "status=ended&status=error" };
    const answer = (await handler(twice as never, aContext())) as { statusCode: number; body: string };
    expect(answer.statusCode).toBe(400);
    expect(JSON.parse(answer.body).errors).toMatchObject([{ field: "status", message: "Must be given once" }]);
  });

  it("a cursor of another filter or sort, and a filtered one without its filter", async () => {
    await store([{}, {}, {}]);
    const { nextCursor: filtered } = (await list({ status: "ended", limit: "1" })).body.meta;
    const { nextCursor: plain } = (await list({ limit: "1" })).body.meta;
    const queries: Record<string, string>[] = [
      { cursor: filtered },
      { cursor: filtered, status: "error" },
      { cursor: filtered, status: "ended", sort: "start_timestamp" },
      { cursor: plain, status: "ended" },
    ];
    for (const query of queries) {
      expect(fieldsOf(await list(query))).toEqual([400, "cursor"]);
    }
    expect(idsOf(await list({ cursor: filtered, status: "ended", sort: "-start_timestamp" }))).toHaveLength(2);
  });
});

describe("end_user_id", () => {
  it("is in list and transcript as it was given, and found by", async () => {
    const fresh = await aWorld();
    await aChat(fresh);
    const chatId = await aChat(fresh, { end_user_id: "customer 17 €", metadata: { end_user_id: "no" } });
    expect(idsOf(await list({ end_user_id: "customer 17 €" }, fresh))).toEqual([chatId]);
    expect(idsOf(await list({ end_user_id: "no" }, fresh))).toEqual([]);
    expect((await list({}, fresh)).body.data.map(({ end_user_id }: Document) => end_user_id)).toEqual([
      "customer 17 €",
      undefined,
    ]);
    const read = await call("transcript", { token: fresh.viewer.token, subaccountId: fresh.subaccountId, chatId });
    expect(read.body.data.end_user_id).toBe("customer 17 €");
  });

  it.each(["", "x".repeat(129), "\udfff", 7, { $gt: "" }])("is refused: %j", async (end_user_id) => {
    const body = { agentId: world.agentId, end_user_id };
    const answer = await call("create", { token: world.owner.token, subaccountId: world.subaccountId, body });
    expect(fieldsOf(answer)).toEqual([400, "end_user_id"]);
  });
});
