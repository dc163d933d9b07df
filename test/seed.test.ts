import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BSON, type Document, MongoClient, ObjectId } from "mongodb";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type RunningMongod, startMongod } from "../dev/mongod.ts";
import { demo, seedDemo } from "../dev/seed/demo.ts";
import { load } from "../dev/seed/load.ts";
import type { StoredChat } from "../lib/chat/model.ts";
import { statsOf } from "../lib/chat/stats.ts";
import { tagsOf } from "../lib/chat/tags.ts";
import { transcriptText } from "../lib/chat/view.ts";
import { decrypt } from "../lib/platform/crypto.ts";

const { subaccountId } = demo;

let mongod: RunningMongod;
let client: MongoClient;

beforeAll(async () => {
  mongod = await startMongod();
  client = new MongoClient(mongod.url);
});
afterAll(async () => {
  await client?.close();
  await mongod?.stop();
});
beforeEach(async () => {
  await client.db().dropDatabase();
  await own().dropDatabase();
  await seedDemo(mongod.url);
});

const own = () => client.db("demo_support");
const chats = () => own().collection<StoredChat>("chats");

/** Everything that is stored, as text in which types differ. */
async function everything(): Promise<string> {
  const all: Document[] = [];
  for (const db of [client.db(), own()]) {
    for (const { name } of (await db.listCollections().toArray()).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      all.push({ name, documents: await db.collection(name).find().sort({ _id: 1 }).toArray() });
    }
  }
  return BSON.EJSON.stringify(all, { relaxed: false });
}

const byName = (one: Document, other: Document) => (one.name < other.name ? -1 : 1);

const typeOf = (value: unknown) =>
  value instanceof ObjectId ? "ObjectId" : value instanceof Date ? "Date" : typeof value;

async function oldDocument(collection: string): Promise<Document> {
  const [document] = BSON.EJSON.parse(await readFile(new URL(`old/${collection}.json`, import.meta.url), "utf8"));
  return document;
}

describe("the demo tenant", () => {
  test.each(["subaccounts", "usersubaccounts", "retellaccounts", "chatagents"])(
    "%s are of the types that the old server writes",
    async (collection) => {
      const old = await oldDocument(collection);
      const db = collection === "chatagents" ? own() : client.db();
      const [document] = await db.collection(collection).find().sort({ _id: 1 }).toArray();
      const shared = Object.keys(document ?? {}).filter((field) => field in old);
      expect(shared.length).toBeGreaterThanOrEqual(Object.keys(old).length - 3); // no cluster of its own, no old key
      for (const field of shared)
        expect(`${field} ${typeOf(document?.[field])}`).toBe(`${field} ${typeOf(old[field])}`);
    },
  );

  test("is made once: a second time changes nothing, not even what somebody has changed", async () => {
    await client
      .db()
      .collection("subaccounts")
      .updateOne({}, { $set: { maintenanceMode: true } });
    const before = await everything();
    await seedDemo(mongod.url);
    expect(await everything()).toBe(before);
  });

  test("gets a new Retell key when no configured encryption key opens the stored one", async () => {
    const accounts = client.db().collection("retellaccounts");
    await accounts.updateOne({}, { $set: { apiKey: "v2.00000000.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA.AAAA" } });
    await seedDemo(mongod.url);
    const account = await accounts.findOne();
    expect(await decrypt({ text: account?.apiKey }, subaccountId, "retell-salt")).toMatch(/^key_/);
  });
});

describe("the load", () => {
  const wanted = { subaccountId, chats: 200, messages: 7, seed: 1 };

  test("is as many chats as asked for, and says which", async () => {
    const about = await load(mongod.url, wanted);
    const stored = await chats().find({ subaccountId }).sort({ start_timestamp: 1 }).toArray();
    expect(stored).toHaveLength(200);
    expect(about).toMatchObject({ subaccountId, agentIds: demo.agentIds, chats: 200, messages: 7 });
    expect([about.firstChatId, about.lastChatId]).toEqual([stored.at(0)?.chat_id, stored.at(-1)?.chat_id]);
    expect(about.sampleChatIds.length).toBeGreaterThan(50);
    expect(await chats().countDocuments({ chat_id: { $in: about.sampleChatIds }, chat_status: "ended" })).toBe(
      about.sampleChatIds.length,
    );
  });

  test("is what people say in eight languages, without an open slot", async () => {
    await load(mongod.url, wanted);
    const languages = await chats().distinct("chat_analysis.custom_analysis_data.language");
    expect(languages.toSorted()).toEqual(["ar", "de", "en", "es", "hi", "ja", "th", "zh"]);
    for (const { messages } of await chats().find().toArray()) {
      for (const { content } of messages) expect(content).toMatch(/^[^{}]{5,}$/);
    }
  });

  test("is stored as a chat is: counts, transcript, tags and types fit", async () => {
    await load(mongod.url, wanted);
    const old = await oldDocument("chats");
    const seen = new Set<string>();
    for (const chat of await chats().find().toArray()) {
      seen.add(chat.chat_status);
      const isOver = chat.chat_status !== "ongoing";
      expect(chat.messages).toHaveLength(7);
      expect(chat.message_count).toBe(7);
      expect(chat.transcript).toBe(isOver ? transcriptText(chat.messages) : "");
      expect(chat.end_timestamp === null).toBe(!isOver);
      expect(chat.internal).toMatchObject({ prependedCount: 0, retellUserCount: 3 });
      expect(chat.internal?.tags).toEqual(tagsOf(chat));
      expect(chat.internal?.stats).toEqual(isOver ? statsOf(chat) : undefined);
      for (const field of Object.keys(old).filter((name) => name !== "end_timestamp")) {
        expect(`${field} ${typeOf(chat[field as keyof StoredChat])}`).toBe(`${field} ${typeOf(old[field])}`);
      }
    }
    expect([...seen].toSorted()).toEqual(["ended", "error", "ongoing"]);
  });

  test("is found by its words, and leaves the indexes as they were", async () => {
    const indexesOf = async () =>
      Promise.all(["chats", "chatwords"].map((name) => own().collection(name).indexes({ full: true })));
    const before = await indexesOf();
    await load(mongod.url, { ...wanted, chats: 2_000, messages: 2 });
    expect((await indexesOf()).map((all) => all.toSorted(byName))).toEqual(before.map((all) => all.toSorted(byName)));
    const words = own().collection("chatwords");
    expect(await words.countDocuments({ subaccountId, words: "password" })).toBeGreaterThan(50);
    expect(await words.countDocuments()).toBe(2_000);
  });

  test("of the same seed adds nothing, of another it does", async () => {
    const first = await load(mongod.url, wanted);
    const before = await everything();
    expect(await load(mongod.url, wanted)).toEqual(first);
    expect(await everything()).toBe(before);

    await load(mongod.url, { ...wanted, seed: 2 });
    expect(await chats().countDocuments()).toBe(400);
  });

  test("npm run local -- seed prints it as JSON, and refuses a subaccount that does not exist", async () => {
    const seed = (...args: string[]) => {
      const program = fileURLToPath(new URL("../dev/local.ts", import.meta.url));
      const env = { ...process.env, MONGODB_URL: mongod.url };
      return promisify(execFile)(
        process.execPath,
        [program, "seed", "--chats", "3", "--messages", "2", "--yes", ...args],
        {
          env,
        },
      );
    };
    expect(JSON.parse((await seed()).stdout)).toMatchObject({ subaccountId, chats: 3, messages: 2 });
    await expect(seed("--subaccount", "64b0000000000000000000ff")).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/\nThere is no subaccount 64b0000000000000000000ff\.\n$/),
    });
  });
});
