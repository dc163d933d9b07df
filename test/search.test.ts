import "./support/unlimited.ts";
import { readFile } from "node:fs/promises";
import type { Document } from "mongodb";
import { beforeAll, describe, expect, it } from "vitest";
import { ensureIndexes } from "../lib/platform/indexes.ts";
import { at, end, send, stored, sweepLater } from "./support/chats.ts";
import { corpus } from "./support/corpus.ts";
import { tool } from "./support/tool.ts";
import { aChat, aWorld, call, fault, type World } from "./support/world.ts";

const world = await aWorld();

/** A search, as the subaccount's viewer. */
const search = (q: string, query: Record<string, string> = {}, { viewer, subaccountId }: World = world) =>
  call("search", { token: viewer.token, subaccountId, query: { q, ...query } });

/** The ids that a search finds, all pages of it. */
async function found(q: string, where: World = world, limit = 50): Promise<string[]> {
  const ids: string[] = [];
  let cursor: string | undefined;
  do {
    const { status, body } = await search(q, { limit: String(limit), ...(cursor ? { cursor } : {}) }, where);
    expect([status, body.code]).toEqual([200, undefined]);
    ids.push(...body.data.map(({ chat_id }: { chat_id: string }) => chat_id));
    cursor = body.meta.nextCursor;
  } while (cursor);
  return ids;
}

const words = (where: World) => where.db.collection<Document & { _id: string }>("chatwords");

/** A chat that is over, as it is stored, without a trip to Retell. */
function aStored(where: World, chat_id: string, texts: string[], more: object = {}): Document {
  const messages = texts.map((content, index) => ({
    message_id: `message_${chat_id}_${index}`,
    role: index % 2 === 0 ? "user" : "agent",
    content,
    internal: {},
  }));
  return {
    chat_id,
    subaccountId: where.subaccountId,
    agent_id: where.agentId,
    chat_status: "ended",
    start_timestamp: 1_759_398_000_000,
    end_timestamp: 1_759_398_090_000,
    message_count: messages.length,
    messages,
    internal: { revision: 1, retellUserCount: 1 },
    ...more,
  };
}

async function store(where: World, chats: Document[]): Promise<void> {
  await where.db.collection("chats").insertMany(chats);
  const { code, stderr } = await tool("search-rebuild", ["--subaccount", where.subaccountId]);
  expect({ code, stderr }).toMatchObject({ code: 0 });
}

describe("of what is said in eight languages", () => {
  const talks = corpus.flatMap(({ name, says }) => says.map((text, index) => ({ id: `chat_${name}_${index}`, text })));
  let tenant: World;
  beforeAll(async () => {
    tenant = await aWorld();
    await ensureIndexes(tenant.db, "tenant");
    await store(
      tenant,
      talks.map(({ id, text }) => aStored(tenant, id, [text])),
    );
  });

  it.each(corpus)("$name: what is found is what docs/search.md says", async ({ name, says, queries }) => {
    const sum = { has: 0, of: 0, forms: 0, ofForms: 0, wrong: 0 };
    for (const [q, has, forms = []] of queries) {
      const ids = new Set((await found(q, tenant)).filter((id) => id.startsWith(`chat_${name}_`)));
      const isFound = (index: number) => ids.has(`chat_${name}_${index}`);
      sum.has += has.filter(isFound).length;
      sum.of += has.length;
      sum.forms += forms.filter(isFound).length;
      sum.ofForms += forms.length;
      sum.wrong += ids.size - [...has, ...forms].filter(isFound).length;
    }
    const row = `| ${name} | ${says.length} | ${queries.length} | ${sum.has} of ${sum.of} | ${sum.forms} of ${sum.ofForms} | ${sum.wrong} |`;
    expect(await readFile("docs/search.md", "utf8")).toContain(row);
  });
});

describe("a chat", () => {
  it("is found while it goes on, right after its send is answered, by what either side says", async () => {
    const chatId = await aChat(world);
    const { body } = await send(world, chatId, "My Zürich kettle 🫖 is leaking, Grüße!");
    const { data, meta } = (await search("zurich KETTLE")).body;
    expect(meta).toMatchObject({ count: 1, hasMore: false });
    expect(data[0]).toMatchObject({ chat_id: chatId, chat_status: "ongoing", message_count: 3 });
    const [{ seq, role, text, highlights }] = data[0].matches;
    expect({ seq, role }).toEqual({ seq: body.data.user_message.seq, role: "user" });
    expect(highlights.map(([from, to]: [number, number]) => text.slice(from, to))).toEqual(["Zürich", "kettle"]);
    const [reply] = body.data.messages;
    expect(await found(`"${reply.content.slice(0, 30).replaceAll('"', "")}"`)).toContain(chatId);
  });

  it("is not found by what tools exchange, by what failed, nor once it is deleted", async () => {
    const tenant = await aWorld({ agentId: "agent_demo_shop" });
    const chatId = await aChat(tenant);
    await send(tenant, chatId, "Where is my order?");
    const tools = (await stored(tenant, chatId))?.messages.filter(({ role }: Document) => /tool/.test(role));
    expect(JSON.stringify(tools)).toContain("arguments");
    const inTools = JSON.stringify(tools).match(/(?<=\\")[a-z_]{4,}(?=\\")/g) ?? [];
    expect(inTools.length).toBeGreaterThan(0);
    const said = (await stored(tenant, chatId))?.messages.map(({ content }: Document) => content).join(" ");
    for (const word of inTools) if (!said.includes(word)) expect(await found(word, tenant)).toEqual([]);

    await fault(tenant, "completion", { kind: "status", status: 422 });
    expect((await send(tenant, chatId, "gibberish that Retell refuses")).status).toBe(503);
    await end(tenant, chatId);
    await sweepLater(tenant, chatId);
    const indexed = await words(tenant).find().toArray();
    expect(indexed.flatMap((segment) => segment.words)).not.toContain("gibberish");
    expect(await found("gibberish", tenant)).toEqual([]);
    expect(await found("order", tenant)).toEqual([chatId]);

    await call("delete", at(tenant, chatId));
    expect(await found("order", tenant)).toEqual([]);
    expect(await words(tenant).countDocuments()).toBe(0);
  });

  it("whose words could not be written is answered as ever, and found after the next sweep", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await words(tenant)
      .drop()
      .catch(() => {});
    await tenant.db.createCollection("chatwords", { viewOn: "nothing" }); // takes no writes
    expect((await send(tenant, chatId, "unforgettable")).status).toBe(200);
    await words(tenant).drop();
    expect(await found("unforgettable", tenant)).toEqual([]);
    await sweepLater(tenant, chatId);
    expect(await found("unforgettable", tenant)).toEqual([chatId]);
  });

  it("is indexed once more after its end, and then left alone", async () => {
    const tenant = await aWorld();
    const chatId = "chat_of_dead_writes";
    const known = { chat_analysis: { chat_summary: "s" }, chat_cost: { combined_cost: 1 } };
    await tenant.db.collection("chats").insertOne(aStored(tenant, chatId, ["remarkable"], known));
    await sweepLater(tenant, chatId);
    expect(await found("remarkable", tenant)).toEqual([chatId]);
    const { revision, wordsRevision, nextSweepAt } = (await stored(tenant, chatId))?.internal ?? {};
    expect([wordsRevision, nextSweepAt]).toEqual([revision, undefined]);
    await words(tenant).deleteMany({});
    await sweepLater(tenant, chatId);
    expect(await words(tenant).countDocuments()).toBe(0);
  });

  it("of hundreds of messages is found by each of them, with its seq, also by two words on both sides of a border", async () => {
    const tenant = await aWorld();
    const texts = Array.from({ length: 260 }, (_, index) => `line${index + 1} of many`);
    await store(tenant, [
      aStored(tenant, "chat_long", texts, { internal: { revision: 1, retellUserCount: 9, prependedCount: 2 } }),
    ]);
    for (const place of [1, 2, 3, 50, 51, 52, 53, 102, 103, 260]) {
      const { data } = (await search(`line${place}`, {}, tenant)).body;
      expect(data[0]?.matches).toEqual([
        {
          seq: place - 2,
          role: place % 2 ? "user" : "agent",
          text: texts[place - 1],
          highlights: [[0, `line${place}`.length]],
        },
      ]);
    }
    expect(await found("line3 line52", tenant)).toEqual(["chat_long"]); // seq 1 and 50
    expect(await found("line3 line53", tenant)).toEqual([]); // docs/search.md: in the same 50 messages
  });
});

describe("a search", () => {
  it.each([
    ["", "q"],
    ["   ", "q"],
    ["?!", "q"],
    ["😡 🎉", "q"],
    ["❶ ㉈", "q"],
    ["one two three four five six", "q"],
    ['"one two three" four five six', "q"],
    ["ab*", "q"],
    ["x".repeat(201), "q"],
  ])("for %j is 400, with the field", async (q, field) => {
    const { status, body } = await search(q);
    expect([status, body.code, body.errors[0].field]).toEqual([400, "VALIDATION_ERROR", field]);
  });

  it.each([
    ["limit", "0"],
    ["limit", "51"],
    ["cursor", "nonsense"],
    ["cursor", Buffer.from("[1,[],2]").toString("base64url")],
    ["cursor", Buffer.from('[{"$gt":""},[],2]').toString("base64url")],
  ])("with %s=%s is 400, with the field", async (field, value) => {
    const { status, body } = await search("hello", { [field]: value });
    expect([status, body.errors[0].field]).toEqual([400, field]);
  });

  it("finds what its characters spell, or nothing", async () => {
    const tenant = await aWorld();
    const texts = { a: "a.*b (c|d) [x]+", b: "price $gt 5 {$where: 1}", c: "quote ' and \\ back", d: "axxb" };
    await store(
      tenant,
      Object.entries(texts).map(([id, text]) => aStored(tenant, id, [text])),
    );
    const spelled: [string, string[]][] = [
      ["a.*b", ["a"]],
      ["(c|d)", ["a"]],
      [".*", []],
      ["$gt", ["b"]],
      ["{$where:", ["b"]],
      ['{"$ne":1}', []],
      ["a..b", []],
      ["back\\", ["c"]],
      ["quote\0", ["c"]],
      ["axxb\ud800", ["d"]],
      ['"quote \' and"', ["c"]],
      ['"quote', ["c"]],
      ["'; drop", []],
      ["(a+)+$", ["a"]],
    ];
    for (const [q, ids] of spelled) {
      const { status, body } = await search(q, {}, tenant);
      const isFound = body.data?.map(({ chat_id }: Document) => chat_id) ?? [];
      expect({ q, status: status === 400 ? 200 : status, isFound }).toEqual({ q, status: 200, isFound: ids });
    }
  });

  it("goes through its pages without losing or repeating a chat, newest first, also of one millisecond", async () => {
    const tenant = await aWorld();
    const chats = Array.from({ length: 25 }, (_, index) =>
      aStored(tenant, `chat_${index}`, ["a needle", ...Array.from({ length: 120 }, () => "needle again")], {
        start_timestamp: 1_759_398_000_000 + Math.floor(index / 10),
      }),
    );
    await store(tenant, chats);
    const ids = await found("needle", tenant, 4);
    expect(ids.toSorted()).toEqual(chats.map(({ chat_id }) => chat_id).toSorted());
    expect(ids.map((id) => Math.floor(Number(id.slice(5)) / 10))).toEqual([
      ...Array(5).fill(2),
      ...Array(10).fill(1),
      ...Array(10).fill(0),
    ]);

    const { data, meta } = (
      await search("needle", { started_before: "1759398000001", status: "ended", wrong: "1" }, tenant)
    ).body;
    expect([data.length, meta.ignored]).toEqual([10, ["wrong"]]);
    expect((await search("needle", { agent_id: "agent_other" }, tenant)).body.meta).toMatchObject({
      count: 0,
      hasMore: false,
    });

    const { nextCursor } = (await search("needle", { limit: "4" }, tenant)).body.meta;
    const other = await search("again", { limit: "4", cursor: nextCursor }, tenant);
    expect([other.status, other.body.errors[0].field]).toEqual([400, "cursor"]);
  });

  it("finds no other tenant's chat in a database that both share", async () => {
    const mine = await aWorld();
    const theirs = await aWorld({ subaccount: { databaseName: mine.db.databaseName } });
    const shared = { ...theirs, db: mine.db };
    await store(mine, [aStored(mine, "chat_mine", ["secret"])]);
    await store(shared, [aStored(shared, "chat_theirs", ["secret"])]);
    expect(await found("secret", mine)).toEqual(["chat_mine"]);
    expect(await found("secr*", shared)).toEqual(["chat_theirs"]);
    await words(mine).updateOne({ chat_id: "chat_mine" }, { $set: { chat_id: "chat_theirs" } });
    expect(await found("secret", mine)).toEqual([]); // an index that is wrong shows nothing of others
  });

  it("of two words that never meet reads some 15,000 keys at most, and its cursor goes on to the end", async () => {
    const tenant = await aWorld();
    await ensureIndexes(tenant.db, "tenant");
    await words(tenant).insertMany(
      Array.from({ length: 9_000 }, (_, index) => ({
        _id: `${tenant.subaccountId}/chat_${index}/0`,
        subaccountId: tenant.subaccountId,
        chat_id: `chat_${index}`,
        segment: 0,
        order: index + 1,
        words: [index % 2 ? "odd" : "even", "any", `any${index % 60}`],
      })),
    );
    const { data, meta } = (await search("odd even", {}, tenant)).body;
    expect([data, meta.hasMore, meta.partial]).toEqual([[], true, true]);
    await tenant.db.command({ profile: 2 });
    await search("odd even", {}, tenant);
    await search("odd even any", {}, tenant);
    await search("any*", {}, tenant);
    await tenant.db.command({ profile: 0 });
    const ours = { ns: /\.chatwords$/, appName: "scalai-chat" };
    const profile = await tenant.db.collection("system.profile").find(ours).toArray();
    expect(profile.map(({ planSummary }) => planSummary).filter((plan) => !/^(IXSCAN|COUNT_SCAN)/.test(plan))).toEqual(
      [],
    );
    const keys = profile.reduce((sum, { keysExamined = 0 }) => sum + keysExamined, 0);
    // 2,000 to count each word; rounds of 200 and 4,000, and as many to find where the next one begins.
    expect(keys).toBeLessThan(3 * 15_000);
    expect(await found("odd even", tenant)).toEqual([]);
  });
});

it("search-rebuild removes what is indexed of chats that are gone, and refuses an unknown subaccount or chat", async () => {
  const tenant = await aWorld();
  await store(tenant, [aStored(tenant, "chat_stays", ["hello"]), aStored(tenant, "chat_goes", ["hello"])]);
  await tenant.db.collection("chats").deleteOne({ chat_id: "chat_goes" });
  const { stdout } = await tool("search-rebuild", ["--subaccount", tenant.subaccountId]);
  expect(stdout).toMatch(/^1 chats indexed, 1 segments of others removed, in \d+\.\d s\n$/);
  expect(await found("hello", tenant)).toEqual(["chat_stays"]);
  const of = (chat: string) => tool("search-rebuild", ["--subaccount", tenant.subaccountId, "--chat", chat]);
  expect(await of("chat_stays")).toMatchObject({ code: 0, stdout: "chat_stays: indexed\n" });
  expect(await of("chat_goes")).toMatchObject({ code: 1 });
  expect(await tool("search-rebuild", ["--subaccount", "0".repeat(24)])).toMatchObject({ code: 1 });
});
