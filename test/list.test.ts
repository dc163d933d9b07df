import { describe, expect, it } from "vitest";
import { aChat, aWorld, call, central, type World } from "./support/world.ts";

const list = (world: World, query?: Record<string, string>) =>
  call("list", { token: world.viewer.token, subaccountId: world.subaccountId, ...(query ? { query } : {}) });

const ids = (answer: { body: { data: { chat_id: string }[] } }) => answer.body.data.map(({ chat_id }) => chat_id);

/** Chats straight into the collection; `start` is what they are sorted by. */
async function stored(world: World, chats: { chat_id: string; start_timestamp: number }[]) {
  await world.db.collection("chats").insertMany(
    chats.map((chat) => ({
      agent_id: "agent_shop",
      chat_status: "ended",
      end_timestamp: chat.start_timestamp + 1,
      message_count: 2,
      messages: [],
      createdAt: new Date(chat.start_timestamp),
      subaccountId: world.subaccountId,
      internal: { revision: 1, retellUserCount: 1 },
      ...chat,
    })),
  );
}

describe("list", () => {
  it("shows a subaccount's chats, newest first, without their messages", async () => {
    const world = await aWorld();
    const first = await aChat(world);
    await stored(world, [{ chat_id: "chat_old", start_timestamp: 1 }]);
    const answer = await list(world);
    expect(ids(answer)).toEqual([first, "chat_old"]);
    expect(Object.keys(answer.body.data[1]).sort()).toEqual(
      ["agent_id", "chat_id", "chat_status", "createdAt", "end_timestamp", "message_count", "start_timestamp"].sort(),
    );
    expect(answer.body.meta).toMatchObject({ count: 2, cached: false, hasMore: false });
  });

  it("pages by cursor through every chat once, also through those of one millisecond", async () => {
    const world = await aWorld();
    const all = [...Array(25).keys()].map((i) => ({
      chat_id: `chat_${String(i).padStart(2, "0")}`,
      start_timestamp: 1_000 + (i % 3),
    }));
    await stored(world, all);

    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const answer = await list(world, { limit: "4", ...(cursor ? { cursor } : {}) });
      seen.push(...ids(answer));
      cursor = answer.body.meta.nextCursor;
      expect(answer.body.meta.hasMore).toBe(cursor !== undefined);
    } while (cursor);
    const expected = all
      .sort((a, b) => b.start_timestamp - a.start_timestamp || (a.chat_id < b.chat_id ? 1 : -1))
      .map(({ chat_id }) => chat_id);
    expect(seen).toEqual(expected);
  });

  it("examines no more documents than it shows, at any depth", async () => {
    const world = await aWorld();
    await stored(
      world,
      [...Array(300).keys()].map((i) => ({ chat_id: `chat_${i}`, start_timestamp: i })),
    );
    const { ensureIndexes } = await import("../lib/platform/indexes.ts");
    await ensureIndexes(world.db, "tenant");
    await world.db.command({ profile: 2 });
    const first = await list(world, { limit: "20" });
    await list(world, { limit: "20", cursor: first.body.meta.nextCursor });
    const { encodeCursor } = await import("../lib/chat/cursor.ts");
    await list(world, { limit: "20", cursor: encodeCursor({ start_timestamp: 25, chat_id: "chat_25" }) });
    await world.db.command({ profile: 0 });

    const finds = await world.db.collection("system.profile").find({ "command.find": "chats" }).toArray();
    expect(finds).toHaveLength(3);
    for (const find of finds) {
      expect(find.docsExamined).toBeLessThanOrEqual(21);
      expect(find.hasSortStage ?? false).toBe(false);
    }
  });

  it("answers the default page from the cache, and forgets it when a chat is created or ended", async () => {
    const world = await aWorld();
    expect((await list(world)).body.meta).toMatchObject({ cached: false, count: 0 });
    expect((await list(world)).body.meta).toMatchObject({ cached: true, count: 0 });

    const chatId = await aChat(world);
    const fresh = await list(world);
    expect([fresh.body.meta.cached, ids(fresh)]).toEqual([false, [chatId]]);
    const again = await list(world);
    expect(again.body.meta.cached).toBe(true);
    expect(again.body.data).toEqual(fresh.body.data);

    await call("end", { token: world.owner.token, subaccountId: world.subaccountId, chatId });
    expect((await list(world)).body).toMatchObject({ data: [{ chat_status: "ended" }], meta: { cached: false } });
  });

  it("caches nothing but the default page", async () => {
    const world = await aWorld();
    for (let i = 0; i < 2; i++) expect((await list(world, { limit: "99" })).body.meta.cached).toBe(false);
  });

  it("shows nothing of another subaccount, by any cursor", async () => {
    const [mine, theirs] = [await aWorld(), await aWorld()];
    await stored(
      theirs,
      [1, 2, 3].map((i) => ({ chat_id: `chat_${i}`, start_timestamp: i })),
    );
    const { body } = await list(theirs, { limit: "1" });
    const answer = await list(mine, { cursor: body.meta.nextCursor });
    expect(answer.body.data).toEqual([]);
  });

  it("shows only its own chats where subaccounts share a database", async () => {
    const [one, two] = [await aWorld(), await aWorld()];
    const { ObjectId } = await import("mongodb");
    await central
      .collection("subaccounts")
      .updateOne({ _id: new ObjectId(two.subaccountId) }, { $set: { databaseName: one.db.databaseName } });
    const chatId = await aChat(one);
    expect(ids(await list(one))).toEqual([chatId]);
    expect(ids(await list(two))).toEqual([]);
  });

  it.each([
    ["limit", "0"],
    ["limit", "501"],
    ["limit", "1.5"],
    ["limit", "1e2"],
    ["limit", "1,2"],
    ["limit", "٣"],
    ["cursor", "nonsense"],
    ["cursor", Buffer.from('[{"$gt":0},"a"]').toString("base64url")],
    ["cursor", Buffer.from('[1,"a",10001]').toString("base64url")],
    ["cursor", Buffer.from(JSON.stringify([1, "x".repeat(3_100)])).toString("base64url")],
    ["cursor", "x".repeat(513)],
  ])("refuses %s=%j: 400", async (name, value) => {
    const { status, body } = await list(await shared, { [name]: value });
    expect([status, body.code, body.errors[0].field]).toEqual([400, "VALIDATION_ERROR", name]);
  });

  it("says so when Mongo answers with an error: 503 CHAT_LIST_FAILED", async () => {
    const world = await aWorld();
    await world.db.dropCollection("chats");
    await world.db.createCollection("chats", {
      viewOn: "nothing",
      pipeline: [{ $match: { $expr: { $divide: [1, 0] } } }],
    });
    const { status, body } = await list(world);
    expect([status, body.code]).toEqual([503, "CHAT_LIST_FAILED"]);
  });
});

const shared = aWorld();
