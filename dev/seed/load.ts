import { type Collection, type Db, MongoBulkWriteError, MongoClient, ObjectId } from "mongodb";
import type { StoredChat, StoredMessage } from "../../lib/chat/model.ts";

const DAY_MS = 86_400_000;
const DAYS = 90;
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
 * Fills a subaccount for load tests: chats spread over the last 90 days, nine of ten ended, with messages of realistic
 * length, as `lib/chat` stores them. Retell does not know them: the ongoing ones are only for lists.
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
    const insert = batches(db.collection<StoredChat>("chats"));
    for (let index = 0; index < wanted.chats; index++) {
      const chat = aChat(wanted, index, agentIds, String(subaccount.retellAccountId ?? ""));
      about.firstChatId ||= chat.chat_id;
      about.lastChatId = chat.chat_id;
      const wants = about.sampleChatIds.length < Math.floor(index / sampled) + 1;
      if (wants && chat.chat_status === "ended") about.sampleChatIds.push(chat.chat_id);
      await insert.add(chat);
    }
    await insert.flush();
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

/** Inserts by batches of some megabytes. What an earlier run with the same seed left is left alone. */
function batches(chats: Collection<StoredChat>) {
  let batch: (StoredChat & { _id: ObjectId })[] = [];
  let bytes = 0;
  const flush = async () => {
    const full = batch;
    batch = [];
    bytes = 0;
    if (full.length === 0) return;
    await chats
      .insertMany(full, { ordered: false, writeConcern: { w: "majority", j: false } })
      .catch((error: unknown) => {
        const repeated = error instanceof MongoBulkWriteError && [error.writeErrors].flat();
        if (!repeated || repeated.some(({ code }) => code !== DUPLICATE)) throw error;
      });
  };
  const add = async (chat: StoredChat & { _id: ObjectId }) => {
    batch.push(chat);
    bytes += 1_000 + chat.transcript.length + chat.messages.length * 350;
    if (bytes > BATCH_BYTES) await flush();
  };
  return { add, flush };
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
  const start = Math.round(today - DAYS * DAY_MS * (1 - (index + random.next()) / chats));
  const status = random.next() < 0.9 ? "ended" : random.next() < 0.8 ? "ongoing" : "error";
  const agentId = random.of(agentIds);
  // The index keeps ids unique if two streams of numbers are equal: 2^32 streams are few for 100,000 chats.
  const number = index.toString(16).padStart(8, "0");
  const chatId = `chat_${random.hex(19)}${number}`;
  const said = conversation(messages, start, random);
  const last = said.at(-1)?.created_timestamp ?? start;
  const end = status === "ongoing" ? null : last + random.between(5_000, 600_000);
  const metadata = { crm_id: `C-${random.between(1, 5_000)}`, channel: random.of(["web", "ios", "android"]) };

  return {
    _id: new ObjectId(`${random.hex(16)}${number}`),
    chat_id: chatId,
    agent_id: agentId,
    chat_status: status,
    start_timestamp: start,
    end_timestamp: end,
    transcript: end === null ? "" : transcriptOf(said),
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
    chat_cost: end === null ? null : costOf(said),
    chat_analysis: status === "ended" ? analysis(random) : null,
    subaccountId,
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
      tags: Object.entries(metadata).map(([key, value]) => `${key}=${value}`),
    },
  } satisfies StoredChat & { _id: ObjectId };
}

const transcriptOf = (said: StoredMessage[]) =>
  said.map(({ role, content }) => `${role === "agent" ? "Agent" : "User"}: ${content}\n`).join("");

function costOf(said: StoredMessage[]) {
  const cost = Math.round(said.length * 3.5);
  return {
    product_costs: [{ product: "gpt-4o", unit_price: 1, cost }],
    total_duration_seconds: 0,
    combined_cost: cost,
  };
}

const analysis = (random: Random) => ({
  chat_summary: sentence(random, 120, 300),
  user_sentiment: random.of(["Positive", "Neutral", "Neutral", "Negative"]),
  chat_successful: random.next() < 0.8,
  custom_analysis_data: {},
});

/** The agent opens the chat, then user and agent alternate. */
function conversation(count: number, start: number, random: Random): StoredMessage[] {
  const messages: StoredMessage[] = [];
  let at = start + 300;
  let turn: string | undefined;
  for (let index = 0; index < count; index++) {
    const isUser = index % 2 === 1;
    at += isUser ? random.between(3_000, 60_000) : random.between(700, 6_000);
    if (isUser) turn = random.uuid();
    messages.push({
      message_id: `msg_${random.uuid()}`,
      role: isUser ? "user" : "agent",
      content: isUser ? sentence(random, 15, 150) : sentence(random, 60, 450),
      created_timestamp: at,
      internal: turn ? { turn } : {},
    });
  }
  return messages;
}

const words =
  "the order is on its way and arrives on Friday but my address has changed can you help please of course which number is it thanks a refund takes three days invoice delivery size colour return shop payment card customer again before after with from your we you not yet already tomorrow".split(
    " ",
  );

function sentence(random: Random, shortest: number, longest: number): string {
  const length = random.between(shortest, longest);
  let text = random.of(words);
  while (text.length < length) text += ` ${random.of(words)}`;
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

type Random = ReturnType<typeof randomOf>;

/** A stream of numbers that depends only on the name: FNV-1a seeds a mulberry32. */
function randomOf(name: string) {
  let state = 0x811c9dc5;
  for (const letter of name) state = Math.imul(state ^ (letter.codePointAt(0) ?? 0), 0x01000193);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low: number, high: number) => low + Math.floor(next() * (high - low + 1));
  const of = <T>(choices: readonly T[]): T => {
    const choice = choices[between(0, choices.length - 1)];
    if (choice === undefined) throw new RangeError("Nothing to choose from");
    return choice;
  };
  const hex = (length: number) => {
    let digits = "";
    while (digits.length < length) digits += between(0, 0xff_ff_ff).toString(16).padStart(6, "0");
    return digits.slice(0, length);
  };
  const uuid = () => `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`;
  return { next, between, of, hex, uuid };
}
