import type { CreateIndexesOptions, Db, Document, IndexSpecification } from "mongodb";

interface Index {
  collection: string;
  key: Extract<IndexSpecification, Record<string, unknown>>;
  options?: CreateIndexesOptions;
}

/** Lists are newest first, and two chats may begin in the same millisecond. With both keys, no page needs a sort. */
const newestFirst = { start_timestamp: -1, chat_id: -1 } as const;

/**
 * The indexes of filtered lists (lib/chat/find/match.ts). None contains a field that changes with every send. Each ends
 * with the order of the list: fields after it would not help, since a chat is read anyway to tell it from a tombstone.
 */
export const chatIndexes = {
  newest: { subaccountId: 1, ...newestFirst },
  status: { subaccountId: 1, chat_status: 1, ...newestFirst },
  agent: { subaccountId: 1, agent_id: 1, chat_status: 1, ...newestFirst },
  creator: { subaccountId: 1, createdBy: 1, ...newestFirst },
  analysis: { subaccountId: 1, "internal.stats.sentiment": 1, "internal.stats.successful": 1, ...newestFirst },
  tags: { subaccountId: 1, "internal.tags": 1, ...newestFirst },
} as const;

/** Everything that analytics sum up (lib/chat/analytics), so that they read no chat. No send changes it. */
export const statsIndex = {
  subaccountId: 1,
  ...newestFirst,
  chat_status: 1,
  agent_id: 1,
  "internal.stats.sentiment": 1,
  "internal.stats.successful": 1,
  "internal.stats.messages": 1,
  "internal.stats.duration_ms": 1,
  "internal.stats.cost": 1,
  "internal.stats.replies": 1,
  "internal.stats.reply_ms": 1,
} as const;

const central: Index[] = [
  { collection: "usersubaccounts", key: { userId: 1, subaccountId: 1 }, options: { unique: true } },
  { collection: "retellaccounts", key: { subaccountId: 1 }, options: { unique: true } },
  // The sweep looks for orphans of the last three days only.
  { collection: "chatsweeps", key: { at: 1 }, options: { expireAfterSeconds: 4 * 86_400 } },
];

const tenant: Index[] = [
  // Also the shard key. None on chat_id alone: a sharded collection forbids it.
  { collection: "chats", key: { subaccountId: 1, chat_id: 1 }, options: { unique: true } },
  ...Object.values(chatIndexes).map((key) => ({ collection: "chats", key: { ...key } })),
  { collection: "chats", key: statsIndex, options: { name: "stats" } },
  // Chats by the Idempotency-Key of their create, and the keys themselves, which are kept for a day.
  {
    collection: "chats",
    key: { subaccountId: 1, "internal.request": 1 },
    options: { unique: true, partialFilterExpression: { "internal.request": { $exists: true } } },
  },
  { collection: "chatrequests", key: { expires: 1 }, options: { expireAfterSeconds: 0 } },
  // For the sweep: only the chats that it must visit.
  {
    collection: "chats",
    key: { subaccountId: 1, "internal.nextSweepAt": 1 },
    options: { partialFilterExpression: { "internal.nextSweepAt": { $exists: true } } },
  },
  // For the search: the chats with a word, newest first.
  { collection: "chatwords", key: { subaccountId: 1, words: 1, order: -1 } },
  { collection: "chatagents", key: { agentId: 1, subaccountId: 1 } },
  // Background jobs: the newest of a kind, those that the sweep must look at, and the end of their documents.
  { collection: "jobs", key: { subaccountId: 1, kind: 1, createdAt: -1, _id: -1 } },
  {
    collection: "jobs",
    key: { subaccountId: 1, sweepAt: 1 },
    options: { partialFilterExpression: { sweepAt: { $exists: true } } },
  },
  { collection: "jobs", key: { expires: 1 }, options: { expireAfterSeconds: 0 } },
];

/** The indexes of the central database and of a subaccount's. */
export const indexes = { central, tenant };

/** The result for one index. */
export interface EnsuredIndex {
  database: string;
  collection: string;
  name: string;
  created: boolean;
  /** How long its creation took. */
  ms: number;
}

/**
 * Creates the indexes that a database lacks, one after the other: MongoDB reads the whole collection for each, while
 * requests go on. Existing ones are not changed, and none is dropped.
 *
 * @param kind `central` for subaccounts, memberships and Retell accounts; `tenant` for a subaccount's chats and agents.
 * @throws MongoServerError when stored documents violate a unique index.
 */
export async function ensureIndexes(db: Db, kind: keyof typeof indexes): Promise<EnsuredIndex[]> {
  const done: EnsuredIndex[] = [];
  if (kind === "tenant") await createCompressed(db, "chatwords");
  for (const { collection, key, options = {} } of indexes[kind]) {
    const before = await indexesOf(db, collection);
    const startedAt = performance.now();
    const name = await db.collection(collection).createIndex(key, options);
    const ms = performance.now() - startedAt;
    const created = !before.some((index) => index.name === name);
    done.push({ database: db.databaseName, collection, name, created, ms });
  }
  return done;
}

/**
 * Creates a collection whose documents are compressed by zstd, which makes words half as large as the default does. One
 * that is there stays as it is. A server that refuses the option gets the collection with its first index.
 */
async function createCompressed(db: Db, name: string): Promise<void> {
  const storageEngine = { wiredTiger: { configString: "block_compressor=zstd" } };
  await db.createCollection(name, { storageEngine }).catch(() => {});
}

/** The indexes that a database lacks, by collection and name: `chats.subaccountId_1_chat_id_1`. Creates nothing. */
export async function missingIndexes(db: Db, kind: keyof typeof indexes): Promise<string[]> {
  const missing: string[] = [];
  for (const index of indexes[kind]) {
    const there = await indexesOf(db, index.collection);
    if (!there.some((one) => isIt(one, index))) {
      missing.push(`${index.collection}.${Object.entries(index.key).flat().join("_")}`);
    }
  }
  return missing;
}

/**
 * The indexes of our collections that are not ours, by collection and name: an earlier version's, the old server's, or an
 * operator's.
 */
export async function otherIndexes(db: Db, kind: keyof typeof indexes): Promise<string[]> {
  const others: string[] = [];
  for (const collection of new Set(indexes[kind].map(({ collection }) => collection))) {
    const ours = indexes[kind].filter((index) => index.collection === collection);
    for (const one of await indexesOf(db, collection)) {
      if (one.name !== "_id_" && !ours.some((index) => isIt(one, index))) others.push(`${collection}.${one.name}`);
    }
  }
  return others;
}

const isIt = (there: Document, { key, options }: Index) =>
  JSON.stringify(there.key) === JSON.stringify(key) && (there.unique ?? false) === (options?.unique ?? false);

async function indexesOf(db: Db, collection: string): Promise<Document[]> {
  return db
    .collection(collection)
    .indexes()
    .catch((error) => {
      if (error.code === namespaceNotFound) return []; // the collection does not exist yet
      throw error;
    });
}

const namespaceNotFound = 26;
