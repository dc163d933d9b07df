import "./support/unlimited.ts";
import fc from "fast-check";
import { Binary, Decimal128, type Document, Long, MaxKey, MinKey, ObjectId, Timestamp } from "mongodb";
import { expect, it } from "vitest";
import { ensureIndexes } from "../lib/platform/indexes.ts";
import { runs } from "./support/runs.ts";
import { aWorld, call, type World } from "./support/world.ts";

const world = await aWorld();
const chats = world.db.collection("chats");

type Key = [start_timestamp: number, chat_id: string];
const isOlder = ([time, id]: Key, [otherTime, otherId]: Key) =>
  time < otherTime || (time === otherTime && id < otherId);

it("cursors visit every chat once, newest first, while others are being added", async () => {
  // Few times and short ids, so that many chats have the same time. Capitals, digits and signs sort as bytes.
  const key = fc.tuple(fc.integer({ min: -2, max: 5 }), fc.stringMatching(/^[A-Za-z0-9_-]{1,3}$/));
  const keys = (maxLength: number) => fc.uniqueArray(key, { maxLength, selector: ([, id]) => id });
  const add = async (added: Key[]) => {
    if (added.length === 0) return;
    await chats.insertMany(
      added.map(([start_timestamp, chat_id]) => ({
        chat_id,
        start_timestamp,
        subaccountId: world.subaccountId,
        agent_id: world.agentId,
        chat_status: "ongoing",
        end_timestamp: null,
        message_count: 0,
        messages: [],
        internal: { retellUserCount: 0 },
      })),
    );
  };

  await fc.assert(
    fc.asyncProperty(
      keys(30),
      fc.array(keys(4), { maxLength: 6 }),
      fc.integer({ min: 1, max: 9 }),
      async (first, later, limit) => {
        await chats.deleteMany({});
        await add(first);
        const expected = new Map(first.map((chat) => [chat[1], chat]));
        const taken = new Set(expected.keys());
        const seen: Key[] = [];
        const additions = [...later];
        let cursor: string | undefined;
        do {
          const query = { limit: String(limit), ...(cursor ? { cursor } : {}) };
          const { body } = await call("list", { token: world.viewer.token, subaccountId: world.subaccountId, query });
          seen.push(
            ...body.data.map(
              (chat: { start_timestamp: number; chat_id: string }): Key => [chat.start_timestamp, chat.chat_id],
            ),
          );
          expect(body.data.length).toBeLessThanOrEqual(limit);
          cursor = body.meta.nextCursor;

          // A chat that is added behind the current page must still appear, one that is newer must not.
          const added = (additions.shift() ?? []).filter(([, id]) => !taken.has(id));
          for (const [, id] of added) taken.add(id);
          await add(added);
          const at = seen.at(-1);
          if (cursor && at) for (const chat of added) if (isOlder(chat, at)) expected.set(chat[1], chat);
        } while (cursor);

        expect(seen).toEqual([...expected.values()].sort((a, b) => (isOlder(a, b) ? 1 : -1)));
      },
    ),
    { numRuns: runs(40) },
  );
});

/** All pages of a list, and the cursor of each but the first. */
async function pagesOf({ viewer, subaccountId }: World, limit: number) {
  const [pages, cursors]: [Document[][], string[]] = [[], []];
  do {
    const query = { limit: String(limit), ...(cursors.length > 0 ? { cursor: cursors.at(-1) ?? "" } : {}) };
    const { status, body } = await call("list", { token: viewer.token, subaccountId, query });
    expect([status, body.errors]).toEqual([200, undefined]);
    pages.push(body.data);
    if (body.meta.nextCursor) cursors.push(body.meta.nextCursor);
    else break;
  } while (pages.length < 1_000);
  return { pages, cursors };
}

/** How an answer spells a value. */
const spelled = (value: unknown) => (typeof value === "string" ? value : null);

it("cursors visit every chat once, whatever the collection holds", async () => {
  const anyTime = fc.oneof(
    fc.constantFrom<unknown>(undefined, null, Number.NaN, Number.POSITIVE_INFINITY, -0, 1.5, 1_759_398_000_000.25),
    fc.constantFrom<unknown>(
      "",
      "1759398000000",
      "2026-01-01T00:00:00Z",
      "$start_timestamp",
      { a: 1 },
      { $gt: "" },
      {},
    ),
    fc.constantFrom<unknown>(true, false, /x/, new MinKey(), new MaxKey(), new Timestamp({ t: 1, i: 2 })),
    fc.constantFrom<unknown>(new Binary(Buffer.from("x")), new ObjectId("5ca1ab1e0000000000000010")),
    fc.constantFrom<unknown>(1.7e18, Long.fromString("1759398000000000001"), Long.fromString("1759398000000000002")),
    fc.constantFrom<unknown>(Long.MIN_VALUE, Decimal128.fromString("0.1"), Decimal128.fromString("9E+6000")),
    fc.date({ noInvalidDate: true }),
    fc.double(),
    fc.integer({ min: 0, max: 3 }),
  );
  const anyId = fc.oneof(
    { weight: 5, arbitrary: fc.stringMatching(/^[A-Za-z0-9._:-]{1,3}$/) },
    fc.constantFrom<unknown>(
      "",
      "$chat_id",
      ".",
      "list",
      "a\0b",
      "é",
      "x".repeat(65),
      "x".repeat(128),
      "x".repeat(5_000),
    ),
    fc.constantFrom<unknown>(
      7,
      7.5,
      null,
      undefined,
      new Date(0),
      true,
      { a: 1 },
      new ObjectId("5ca1ab1e0000000000000010"),
    ),
    fc.constantFrom<unknown>(Long.fromString("1759398000000000001"), new Binary(Buffer.from("id"))),
  );
  const anything = fc.oneof(anyTime, fc.constantFrom<unknown>("ended", [], [null], [1, "x"], { role: "user" }));
  const odd = fc.record({
    start_timestamp: anyTime,
    chat_id: anyId,
    agent_id: anything,
    chat_status: anything,
    end_timestamp: anything,
    message_count: anything,
    messages: anything,
    createdAt: anything,
    internal: fc.constantFrom<unknown>(undefined, { heard: 0 }, { heard: 1 }, null, "x", []),
  });

  const odds = await aWorld();
  const chats = odds.db.collection("chats");
  await fc.assert(
    fc.asyncProperty(fc.array(odd, { maxLength: 40 }), fc.integer({ min: 1, max: 7 }), async (documents, limit) => {
      await chats.deleteMany({});
      const written = documents.map((document) => ({
        ...Object.fromEntries(Object.entries(document).filter(([, value]) => value !== undefined)),
        subaccountId: odds.subaccountId,
      }));
      // Ids of which there are two are refused by the unique index.
      if (written.length > 0) await chats.insertMany(written, { ordered: false }).catch(() => {});
      const stored = await chats.find().sort({ start_timestamp: -1, chat_id: -1 }).toArray();
      const { pages } = await pagesOf(odds, limit);
      expect(pages.flat().map(({ chat_id }) => chat_id)).toEqual(stored.map(({ chat_id }) => spelled(chat_id)));
      for (const page of pages.slice(0, -1)) expect(page).toHaveLength(limit);
    }),
    { numRuns: runs(60) },
  );
});

it("cursors of any type read no more than they show", async () => {
  const odds = await aWorld();
  const { db, subaccountId } = odds;
  await ensureIndexes(db, "tenant");
  const many = (start: (i: number) => unknown) => [...Array(100).keys()].map(start);
  const starts = [
    ...many((i) => 1_000 + i),
    ...many((i) => new Date(i)),
    ...many((i) => String(i)),
    ...many(() => null),
    ...many(() => Number.NaN),
    ...many((i) => Long.fromString(`1759398000000000${100 + i}`)),
  ];
  await db
    .collection("chats")
    .insertMany(starts.map((start_timestamp, i) => ({ chat_id: `c${i}`, start_timestamp, subaccountId })));
  await db.collection("chats").insertMany(many((i) => ({ chat_id: `absent${i}`, subaccountId })) as Document[]);
  await db.command({ profile: 2 });
  const { pages, cursors } = await pagesOf(odds, 9);
  await db.command({ profile: 0 });

  expect(new Set(pages.flat().map(({ chat_id }) => chat_id)).size).toBe(700);
  const finds = await db.collection("system.profile").find({ "command.find": "chats" }).toArray();
  expect(finds).toHaveLength(cursors.length + 1);
  for (const find of finds) {
    expect(find.docsExamined).toBeLessThanOrEqual(12);
    expect(find.keysExamined).toBeLessThanOrEqual(14);
    expect(find.hasSortStage ?? false).toBe(false);
  }
});

it("a list as start_timestamp or chat_id is on no page twice, and keeps no other chat from being reached", async () => {
  const odds = await aWorld();
  const starts = [9, [1, 5, 9], [new Date(3)], 5, 5, [], [null], "t", [["x"]], new Date(5), [{}], 1];
  const ids = starts.map((_, i) => (i === 4 ? [new Date(1), "c4"] : `c${i}`));
  await odds.db.collection("chats").insertMany(
    starts.map((start_timestamp, i) => ({
      chat_id: ids[i],
      start_timestamp,
      subaccountId: odds.subaccountId,
    })) as Document[],
  );
  for (const limit of [1, 2, 3, 5]) {
    const seen = (await pagesOf(odds, limit)).pages.flat().map(({ chat_id }) => chat_id);
    expect(seen).toEqual([...new Set(seen)]);
    expect(seen).toEqual(expect.arrayContaining(["c0", "c3", "c7", "c9", "c11"]));
  }
  expect((await pagesOf(odds, 100)).pages[0]).toHaveLength(starts.length);
});
