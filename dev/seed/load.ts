import {
  type Collection,
  type Db,
  type Document,
  MongoBulkWriteError,
  MongoClient,
  ObjectId,
  type OptionalUnlessRequiredId,
} from "mongodb";
import type { StoredChat, StoredMessage } from "../../lib/chat/model.ts";
import { numbered, type Segment, segmentsOf } from "../../lib/chat/search/segment.ts";
import { statsOf } from "../../lib/chat/stats.ts";
import { tagsOf } from "../../lib/chat/tags.ts";
import { transcriptText } from "../../lib/chat/view.ts";
import { type Random, randomOf } from "./random.ts";
import { type Talk, talk } from "./talk.ts";

const DAY_MS = 86_400_000;
const DAYS = 365;
const BATCH_BYTES = 4_000_000;
const DUPLICATE = 11_000;

/** The chats to fill a subaccount with. */
export interface Load {
  subaccountId: string;
  chats: number;
  /** Messages of agent and user in every chat. */
  messages: number;
  /** The same number gives the same chats; a second run with it adds none. */
  seed: number;
}

/** The chats that a subaccount was filled with. */
export interface Loaded {
  subaccountId: string;
  agentIds: string[];
  chats: number;
  messages: number;
  /** The ids of the oldest and the newest chat. */
  firstChatId: string;
  lastChatId: string;
  /** Ids of ended chats, spread over the whole time. */
  sampleChatIds: string[];
}

/**
 * Fills a subaccount for load tests: chats of customer service in eight languages, spread over the last year, nine of
 * ten ended, as `lib/chat` stores them. Retell does not know them: the ongoing ones are only for lists.
 *
 * @throws When there is no such subaccount, or when it keeps its data on a cluster of its own.
 */
export async function load(mongodbUrl: string, wanted: Load): Promise<Loaded> {
  const client = new MongoClient(mongodbUrl);
  try {
    const { subaccountId } = wanted;
    const subaccount = await client
      .db()
      .collection("subaccounts")
      .findOne({ _id: new ObjectId(subaccountId) });
    if (!subaccount) throw new Error(`There is no subaccount ${subaccountId}.`);
    if (subaccount.mongodbUrl) throw new Error(`Subaccount ${subaccountId} has a database cluster of its own.`);

    const db = client.db(subaccount.databaseName || undefined);
    const agentIds = await agentsOf(db, subaccountId);
    const sampled = Math.max(1, Math.ceil(wanted.chats / 100));
    const about: Loaded = { ...pick(wanted), agentIds, firstChatId: "", lastChatId: "", sampleChatIds: [] };
    const withIndexes = await putOffIndexes(db, wanted.chats);
    const insert = batches(db);
    for (let index = 0; index < wanted.chats; index++) {
      const chat = withStats(aChat(wanted, index, agentIds, String(subaccount.retellAccountId ?? "")));
      about.firstChatId ||= chat.chat_id;
      about.lastChatId = chat.chat_id;
      const wants = about.sampleChatIds.length < Math.floor(index / sampled) + 1;
      if (wants && chat.chat_status === "ended") about.sampleChatIds.push(chat.chat_id);
      await insert.add(chat);
    }
    await insert.finish();
    await withIndexes();
    return about;
  } finally {
    await client.close();
  }
}

const pick = ({ subaccountId, chats, messages }: Load) => ({ subaccountId, chats, messages });

async function agentsOf(db: Db, subaccountId: string): Promise<string[]> {
  const agents = db.collection<{ agentId: string; subaccountId: string; name: string }>("chatagents");
  const found = await agents.distinct("agentId", { subaccountId });
  if (found.length > 0) return found;
  await agents.insertOne({ agentId: "agent_load", subaccountId, name: "Load" });
  return ["agent_load"];
}

/** Fewer chats are inserted before an index would be built. */
const manyChats = 2_000;

/**
 * Drops the indexes of empty collections that only save time: building them afterwards takes a fraction of the time.
 *
 * @returns Builds them again.
 */
async function putOffIndexes(db: Db, chats: number): Promise<() => Promise<void>> {
  const put: (() => Promise<unknown>)[] = [];
  for (const name of chats < manyChats ? [] : ["chats", "chatwords"]) {
    const collection = db.collection(name);
    if (await collection.findOne()) continue;
    const all = await collection.indexes().catch(() => []); // there is no such collection yet
    for (const { v: _version, key, ...options } of all.filter(({ unique, name }) => !unique && name !== "_id_")) {
      await collection.dropIndex(options.name ?? "");
      put.push(() => collection.createIndex(key, options));
    }
  }
  return async () => {
    for (const build of put) await build();
  };
}

/**
 * Inserts chats and their words by batches of some megabytes; while MongoDB works on one, the next one is made. What an
 * earlier run with the same seed left is left alone.
 */
function batches(db: Db) {
  let batch: (StoredChat & { _id: ObjectId })[] = [];
  let bytes = 0;
  let writing: Promise<unknown> = Promise.resolve();
  const flush = async () => {
    const full = batch;
    batch = [];
    bytes = 0;
    const segments = full.flatMap((chat) => segmentsOf(chat, chat, numbered(chat, chat.messages)));
    await writing;
    writing = Promise.all([
      insertNew(db.collection<StoredChat>("chats"), full),
      insertNew(db.collection<Segment>("chatwords"), segments),
    ]);
    writing.catch(() => {}); // the next flush throws it
  };
  const add = async (chat: StoredChat & { _id: ObjectId }) => {
    batch.push(chat);
    bytes += 1_000 + chat.transcript.length + chat.messages.length * 350;
    if (bytes > BATCH_BYTES) await flush();
  };
  const finish = async () => {
    await flush();
    await writing;
  };
  return { add, finish };
}

async function insertNew<Stored extends Document>(
  collection: Collection<Stored>,
  documents: OptionalUnlessRequiredId<Stored>[],
): Promise<void> {
  if (documents.length === 0) return;
  await collection
    .insertMany(documents, { ordered: false, writeConcern: { w: "majority", j: false } })
    .catch((error: unknown) => {
      const repeated = error instanceof MongoBulkWriteError && [error.writeErrors].flat();
      if (!repeated || repeated.some(({ code }) => code !== DUPLICATE)) throw error;
    });
}

/** One chat, which depends only on the load's seed, the index and today's date. */
function aChat(
  { subaccountId, chats, messages, seed }: Load,
  index: number,
  agentIds: string[],
  retellAccountId: string,
) {
  const random = randomOf(`${subaccountId}/${seed}/${index}`);
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const start = startOf(today - DAYS * DAY_MS * (1 - (index + random.next()) / chats));
  const status = random.next() < 0.9 ? "ended" : random.next() < 0.8 ? "ongoing" : "error";
  const agentId = random.of(agentIds);
  // The index keeps ids unique if two streams of numbers are equal: 2^32 streams are few for 100,000 chats.
  const number = index.toString(16).padStart(8, "0");
  const chatId = `chat_${random.hex(19)}${number}`;
  const talked = talk(messages, start, random);
  const said = talked.messages;
  const last = said.at(-1)?.created_timestamp ?? start;
  const end = status === "ongoing" ? null : last + random.between(5_000, 600_000);
  const metadata = { crm_id: `C-${random.between(1, 5_000)}`, channel: random.of(["web", "ios", "android"]) };
  const end_user_id = `customer-${random.between(1, Math.max(1, Math.ceil(chats / 20)))}`;

  return {
    _id: new ObjectId(`${random.hex(16)}${number}`),
    chat_id: chatId,
    agent_id: agentId,
    chat_status: status,
    start_timestamp: start,
    end_timestamp: end,
    transcript: end === null ? "" : transcriptText(said),
    message_count: said.length,
    messages: said,
    metadata,
    retell_llm_dynamic_variables: {
      agent_id: agentId,
      subaccount_id: subaccountId,
      phone_number: "",
      customer_name: random.of(["Ana", "Luis", "Marta", "John", "Aisha", "Wei"]),
    },
    collected_dynamic_variables: end === null ? {} : { order: `A-${random.between(1, 99_999)}` },
    chat_cost: end === null ? null : costOf(said, random),
    chat_analysis: status === "ended" ? analysisOf(talked, random) : null,
    subaccountId,
    end_user_id,
    createdBy: `5ca1ab1e00000000001${random.between(0, 50).toString(16).padStart(5, "0")}`,
    createdAt: new Date(start),
    updatedAt: new Date(end ?? last),
    lastMessageAt: new Date(last),
    ...(end === null ? {} : { endedAt: new Date(end) }),
    operationId: random.uuid(),
    retellAccountId,
    internal: {
      revision: said.length,
      retellUserCount: said.filter(({ role }) => role === "user").length,
      prependedCount: 0,
      opening: 1,
      wordsRevision: said.length,
      tags: tagsOf({ metadata, end_user_id }),
    },
  } satisfies StoredChat & { _id: ObjectId };
}

function withStats<Chat extends StoredChat & Required<Pick<StoredChat, "internal">>>(chat: Chat): Chat {
  return chat.chat_status === "ongoing" ? chat : { ...chat, internal: { ...chat.internal, stats: statsOf(chat) } };
}

/** Most chats begin by day (UTC). Times keep their order. */
function startOf(evenly: number): number {
  const day = Math.floor(evenly / DAY_MS);
  const share = evenly / DAY_MS - day;
  const hour = share < 0.1 ? share * 80 : share < 0.9 ? 8 + (share - 0.1) * 15 : 20 + (share - 0.9) * 40;
  return day * DAY_MS + Math.floor((hour * DAY_MS) / 24);
}

/** US cents. */
function costOf(said: StoredMessage[], random: Random) {
  const cost = (said.length * random.between(20, 300)) / 100;
  return { product_costs: [{ product: "gpt-4o", unit_price: 0, cost }], combined_cost: cost };
}

const analysisOf = ({ topic, language, sentiment, isSolved }: Talk, random: Random) => ({
  chat_summary: `The user wrote about: ${topic}. ${isSolved ? "The agent solved it." : "It was not solved."}`,
  user_sentiment: random.next() < 0.05 ? "Unknown" : sentiment,
  chat_successful: isSolved,
  custom_analysis_data: { topic, language },
});
