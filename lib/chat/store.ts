import type { Collection, Filter, ObjectId, UpdateFilter } from "mongodb";
import { ApiError } from "../errors.ts";
import type { Idempotency } from "../idempotency.ts";
import { bounded, driver, isDuplicate, isTypeMismatch, isUnreachable } from "../mongo.ts";
import type { Key, Position, SortKeys } from "../page.ts";
import type { Entry } from "../retell/schema.ts";
import type { Tenant } from "../tenant.ts";
import {
  countOf,
  type Gone,
  isAdopted,
  isComplete,
  newMessageId,
  type ReadChat,
  readable,
  type StoredChat,
  type StoredMessage,
  type Turn,
} from "./document.ts";

/** A chat takes no new turn above this: MongoDB refuses documents over 16 MB, and the reply needs room. */
const maxChatBytes = 12_582_912;

/** After this an ongoing chat is looked at again: Retell closes silent chats after an hour by default. */
const silenceMs = 65 * 60_000;

/** Turns that a chat remembers in `cancelled` and `telling`: for seconds, and a chat has few senders at a time. */
const maxRemembered = 10;

/** A chat as a list finds it: others write into the collection too, so that a field may hold anything. */
export type FoundChat = Record<
  "chat_id" | "agent_id" | "chat_status" | "start_timestamp" | "end_timestamp" | "message_count" | "createdAt",
  unknown
>;

/** A chat that the sweep should look at. */
export interface Due {
  _id: ObjectId;
  chat_id: string;
  due: Date;
  /** Its open turn, if it has one. */
  turn?: Turn;
  /** It is a tombstone: what is left of a chat that was given up. */
  gone?: Gone;
  /** Of the create that it came of. */
  operationId: string;
}

/** What a tombstone says of its chat. */
type Buried = Pick<StoredChat, "chat_id"> & Partial<Pick<StoredChat, "agent_id" | "start_timestamp" | "operationId">>;

/** What BEGIN writes. */
interface NewTurn {
  id: string;
  operationId: string;
  message: StoredMessage;
  leaseMs: number;
}

/** What is known of a failed send. */
interface FailedWhy {
  /** It may be delivered late. */
  mayArrive?: boolean;
  /** When its turn began (epoch ms). */
  sentAt?: number;
  /** Retell has an entry that may be this send, or somebody else's. */
  undecided?: boolean;
}

/** Why a turn could not begin: what the chat looked like right after. */
export interface Obstacle {
  chat_status: StoredChat["chat_status"];
  turn: Turn | undefined;
  isAdopted: boolean;
  isFull: boolean;
  /** The message that was sent with the same Idempotency-Key. */
  earlier: StoredMessage | undefined;
  now: Date;
}

/** How a chat finished, as far as it is known: only what is here is written. */
export type Ending = Partial<
  Pick<
    StoredChat,
    | "chat_status"
    | "end_timestamp"
    | "endedAt"
    | "transcript"
    | "chat_cost"
    | "chat_analysis"
    | "collected_dynamic_variables"
  >
> & { "internal.endedIn"?: string; "internal.importPending"?: true };

/**
 * The chats collection. Every function takes the tenant and every query carries its subaccountId. Writes of messages
 * and turns follow the turn protocol (docs/turns.md): each names the state that it was decided on, and changes nothing in
 * another. Tombstones are found by the functions that speak of them, and by `due`. All of them throw CONNECTION_FAILED when
 * the tenant's database does not answer in time.
 */
export const chats = {
  async insert(tenant: Tenant, chat: StoredChat): Promise<void> {
    await run(tenant, (chats) => chats.insertOne({ ...chat }));
  },

  /** The chat that a create with a key has stored; null when it has not come that far. */
  async byRequest(tenant: Tenant, request: string): Promise<StoredChat | null> {
    const filter = { ...present(tenant), "internal.request": request } as Filter<StoredChat>;
    const chat = await findDurable(tenant, filter, (chats) => chats.findOne(filter, { projection: { _id: 0 } }));
    return chat && readable(chat);
  },

  /** The whole chat with the server's clock; null when this subaccount has no such chat. */
  async get(tenant: Tenant, chatId: string): Promise<ReadChat | null> {
    const chat = await findDurable(tenant, one(tenant, chatId), (chats) =>
      chats
        .aggregate<ReadChat>([{ $match: one(tenant, chatId) }, { $addFields: { now: "$$NOW" } }, { $unset: "_id" }])
        .toArray()
        .then(([chat]) => chat ?? null),
    );
    return chat && readable(chat);
  },

  /**
   * Chats newest first, from a position on (exclusive).
   *
   * @throws CHAT_LIST_FAILED when Mongo answers with an error
   */
  async page(tenant: Tenant, limit: number, after: Position | undefined): Promise<FoundChat[]> {
    const shown = present(tenant);
    const older = after && (await olderThan(shown, after));
    return run(tenant, (chats) =>
      chats
        .find(older ? { $or: older } : shown)
        .sort({ start_timestamp: -1, chat_id: -1 })
        .skip(after?.skip ?? 0)
        .limit(limit)
        .project<FoundChat>({
          _id: 0,
          chat_id: 1,
          agent_id: 1,
          chat_status: 1,
          start_timestamp: 1,
          end_timestamp: 1,
          message_count: countedByUs,
          createdAt: 1,
        })
        .toArray(),
    ).catch((cause) => {
      throw isUnreachable(cause) ? cause : new ApiError("CHAT_LIST_FAILED", { cause });
    });
  },

  /** Whether the subaccount owns such an agent. */
  async hasAgent(tenant: Tenant, agentId: string): Promise<boolean> {
    const filter = { agentId, subaccountId: tenant.subaccountId };
    const find = async () => (await tenant.db()).collection("chatagents").findOne(filter, { projection: { _id: 1 } });
    const found = await tenant.log.time("mongo", bounded(find()));
    return found !== null;
  },

  /**
   * BEGIN: stores what the user says and takes the chat's one turn, in one step.
   *
   * @returns The user's seq; null when the chat is missing, over, busy, full, or not yet adopted: see `obstacle`.
   */
  async begin(tenant: Tenant, chatId: string, { id, operationId, message, leaseMs }: NewTurn) {
    const key = message.internal?.key;
    const begun = await counting(tenant, chatId, (chats) =>
      chats.findOneAndUpdate(
        {
          ...one(tenant, chatId),
          chat_status: "ongoing",
          "internal.turn": { $exists: false },
          "internal.heard": { $exists: true },
          "internal.cancelled": { $ne: id },
          "internal.overflows": { $exists: false },
          $and: [{ $or: writtenByUs }],
          ...(key ? { messages: { $not: { $elemMatch: sentWith(key) } } } : {}),
          $expr: { $lt: [{ $bsonSize: "$$ROOT" }, maxChatBytes] },
        },
        {
          $push: { messages: message },
          $set: {
            "internal.turn.id": id,
            "internal.turn.operationId": operationId,
            "internal.turn.state": "sending",
            "internal.due": new Date(Date.now() + leaseMs),
          },
          $inc: { "internal.rev": 1, message_count: 1 },
          $currentDate: { "internal.turn.at": true, lastMessageAt: true, updatedAt: true },
        } as UpdateFilter<StoredChat>,
        { returnDocument: "after", projection: sizeOnly },
      ),
    );
    return begun && { seq: lastSeq(begun as unknown as Sized), agentId: begun.agent_id };
  },

  /** What stood in the way of BEGIN; null when this subaccount has no such chat. */
  async obstacle(tenant: Tenant, chatId: string, key: string | undefined): Promise<Obstacle | null> {
    const found = await findDurable(tenant, one(tenant, chatId), (chats) =>
      chats.findOne(one(tenant, chatId), {
        projection: {
          _id: 0,
          chat_status: 1,
          internal: 1,
          bytes: { $bsonSize: "$$ROOT" },
          now: "$$NOW",
          first: { $slice: [listOfMessages, 1] },
          ...(key ? { messages: { $elemMatch: sentWith(key) } } : {}),
        },
      }),
    );
    if (!found) return null;
    type Found = ReadChat & { bytes: number; first: StoredMessage[] };
    const { chat_status, internal, bytes, now, messages, first } = found as unknown as Found;
    return {
      chat_status,
      turn: internal?.turn,
      isAdopted: isAdopted({ internal, messages: first }),
      isFull: bytes >= maxChatBytes || internal?.overflows === true,
      earlier: messages?.[0],
      now,
    };
  },

  /**
   * FINISH: appends the reply and frees the chat. Neither status nor time is asked: news of the chat's end may have
   * come first, and a late owner may still finish what nobody else settled.
   *
   * @param lookMs    When the sweep looks next: after a reply that may have ended the chat, soon.
   * @param isTelling What a repeat is told of the chat's end is still to be decided: see `endedIn` and `told`.
   * @returns The seq of the reply's first entry, the chat's status, and the turn in which the chat ended; null when
   *          somebody else has settled the turn, or when the chat has an entry of the reply already.
   */
  async finish(
    tenant: Tenant,
    chatId: string,
    turnId: string,
    reply: StoredMessage[],
    { lookMs = silenceMs, isTelling = false }: { lookMs?: number; isTelling?: boolean },
  ) {
    const ids = reply.filter(({ internal }) => !internal?.own).map(({ message_id }) => message_id);
    const finished = await counting(tenant, chatId, (chats) =>
      chats.findOneAndUpdate(
        {
          ...one(tenant, chatId),
          "internal.turn.id": turnId,
          ...(ids.length > 0 ? { "messages.message_id": { $nin: ids } } : {}),
        } as Filter<StoredChat>,
        {
          $push: {
            messages: { $each: reply },
            ...(isTelling ? { "internal.telling": { $each: [turnId], $slice: -maxRemembered } } : {}),
          },
          $unset: { "internal.turn": "" },
          $inc: { "internal.rev": 1, "internal.heard": 1, message_count: countOf(reply) },
          $set: { "internal.due": new Date(Date.now() + lookMs) },
          $currentDate: { lastMessageAt: true, updatedAt: true },
        } as UpdateFilter<StoredChat>,
        { returnDocument: "after", projection: sizeOnly },
      ),
    );
    return (
      finished && {
        seq: lastSeq(finished as unknown as Sized) - reply.length + 1,
        chat_status: finished.chat_status,
        endedIn: finished.internal?.endedIn,
      }
    );
  },

  /**
   * Notes the turn whose answer tells that the chat is over. The sweep looks soon: FINISH took it for an ongoing one.
   *
   * @returns Whether it is noted: not if another turn is, or if a repeat was told that the chat goes on (`isTelling`).
   */
  async endedIn(tenant: Tenant, chatId: string, turnId: string, isTelling: boolean): Promise<boolean> {
    const filter = {
      ...one(tenant, chatId),
      "internal.endedIn": { $in: [null, turnId] },
      ...(isTelling ? { "internal.telling": turnId } : {}),
    };
    const set = { "internal.endedIn": turnId, "internal.due": new Date(Date.now() + 60_000) };
    const update = { $set: set, $inc: { "internal.rev": 1 } };
    const { matchedCount } = await run(tenant, (chats) =>
      chats.updateOne(filter as Filter<StoredChat>, update as unknown as UpdateFilter<StoredChat>),
    );
    return matchedCount === 1;
  },

  /** Decides that a turn tells of no end, unless it is noted that it does: whoever asks from now on is told the same. */
  async told(tenant: Tenant, chatId: string, turnId: string): Promise<void> {
    const filter = { ...one(tenant, chatId), "internal.telling": turnId, "internal.endedIn": { $ne: turnId } };
    const update = { $pull: { "internal.telling": turnId }, $inc: { "internal.rev": 1 } };
    await run(tenant, (chats) =>
      chats.updateOne(filter as Filter<StoredChat>, update as unknown as UpdateFilter<StoredChat>),
    );
  },

  /** FAIL: the message stays, marked as failed; the chat is free, and its key too unless the outcome is `undecided`. */
  async fail(tenant: Tenant, chatId: string, turnId: string, why: FailedWhy = {}, seen?: ReadChat): Promise<boolean> {
    const { filter: open, update, arrayFilters } = failure(tenant, chatId, turnId, why);
    // Decided on a reading: a refusal that was noted since may decide otherwise.
    const filter = { ...open, ...(seen ? { "internal.rev": seen.internal?.rev } : {}) } as Filter<StoredChat>;
    const { modifiedCount } = await counting(tenant, chatId, (chats) =>
      chats.updateOne(filter, update, { arrayFilters }),
    );
    return modifiedCount === 1;
  },

  /**
   * FAIL of a turn whose BEGIN had no answer. MongoDB may still be working on that BEGIN, and may take this first: then
   * the turn does not begin any more. Both in one command, in this order.
   */
  async cancel(tenant: Tenant, chatId: string, turnId: string): Promise<void> {
    const note = { $push: { "internal.cancelled": { $each: [turnId], $slice: -maxRemembered } } };
    const cancelled = { filter: one(tenant, chatId), update: note as UpdateFilter<StoredChat> };
    await counting(tenant, chatId, (chats) =>
      chats.bulkWrite([{ updateOne: cancelled }, { updateOne: failure(tenant, chatId, turnId) }]),
    );
  },

  /** MARK: the outcome of the turn is unknown; the next send, read or sweep settles it. */
  async mark(tenant: Tenant, chatId: string, turnId: string, why: Pick<Turn, "answered" | "finished">): Promise<void> {
    await run(tenant, (chats) =>
      chats.updateOne({ ...one(tenant, chatId), "internal.turn.id": turnId }, {
        $set: {
          "internal.turn.state": "unknown",
          "internal.due": new Date(Date.now() + 10_000),
          ...(why.answered ? { "internal.turn.answered": true } : {}),
          ...(why.finished ? { "internal.turn.finished": true } : {}),
        },
        $inc: { "internal.rev": 1 },
        $currentDate: { "internal.turn.markedAt": true },
      } as UpdateFilter<StoredChat>),
    );
  },

  /**
   * Appends what Retell has and we lack, and closes the open turn. Null: the chat has changed since it was read.
   *
   * @param endedIn The turn in which the agent ended the chat, if this history shows it.
   */
  async append(
    tenant: Tenant,
    seen: ReadChat,
    entries: StoredMessage[],
    heard: number,
    endedIn: string | undefined,
  ): Promise<ReadChat | null> {
    return replaceSeen(tenant, seen, {
      $push: { messages: { $each: entries } },
      $unset: { "internal.turn": "" },
      $inc: { "internal.rev": 1, message_count: countOf(entries) },
      $set: {
        "internal.heard": heard,
        "internal.due": new Date(Date.now() + silenceMs),
        ...(endedIn ? { "internal.endedIn": endedIn } : {}),
      },
      $currentDate: { lastMessageAt: true, updatedAt: true },
    });
  },

  /** Replaces the text of one entry, or marks it as shortened. Its seq and message_id stay. */
  async correct(
    tenant: Tenant,
    seen: ReadChat,
    index: number,
    fields: { content: string } | { "internal.shortened": true },
  ): Promise<ReadChat | null> {
    const set = Object.entries(fields).map(([name, value]) => [`messages.${index}.${name}`, value]);
    return replaceSeen(tenant, seen, {
      $set: { ...Object.fromEntries(set), transcript: "" }, // of a chat that is over it is written again
      $inc: { "internal.rev": 1 },
      $currentDate: { updatedAt: true },
    });
  },

  /** Bytes of BSON. */
  async sizeOf(tenant: Tenant, chatId: string): Promise<number> {
    const projection = { _id: 0, bytes: { $bsonSize: "$$ROOT" } };
    const found = await run(tenant, (chats) => chats.findOne<{ bytes: number }>(one(tenant, chatId), { projection }));
    return found?.bytes ?? 0;
  },

  /** Puts opening messages in front; `base` keeps every seq that was shown. */
  async prepend(tenant: Tenant, seen: ReadChat, entries: StoredMessage[]): Promise<ReadChat | null> {
    return replaceSeen(tenant, seen, {
      $push: { messages: { $each: entries, $position: 0 } },
      $inc: { "internal.rev": 1, "internal.base": entries.length, message_count: countOf(entries) },
      $currentDate: { updatedAt: true },
    });
  },

  /** Writes how a chat finished. The first end_timestamp and endedAt stay. */
  async close(tenant: Tenant, seen: ReadChat, ending: Ending): Promise<ReadChat | null> {
    const isOpen = seen.internal?.turn !== undefined; // whose due stays
    const isDone = isComplete({ ...seen, ...ending });
    return replaceSeen(tenant, seen, {
      $set: { ...ending, ...(isOpen || isDone ? {} : { "internal.due": new Date(Date.now() + 60_000) }) },
      ...(!isOpen && isDone ? { $unset: { "internal.due": "" } } : {}),
      $inc: { "internal.rev": 1 },
      $currentDate: { updatedAt: true },
    });
  },

  /** Notes that an end was asked for and failed: the sweep tries again. */
  async noteEnd(tenant: Tenant, chatId: string): Promise<void> {
    await run(tenant, (chats) =>
      chats.updateOne({ ...one(tenant, chatId), chat_status: "ongoing" }, {
        $set: { "internal.due": new Date(Date.now() + 60_000) },
        $currentDate: { "internal.endAsked": true },
      } as UpdateFilter<StoredChat>),
    );
  },

  /** The tenant's chats and tombstones that the sweep should look at by now, the longest due first. */
  async due(tenant: Tenant, limit: number): Promise<Due[]> {
    return run(tenant, (chats) =>
      chats
        .find({ subaccountId: tenant.subaccountId, "internal.due": { $lte: new Date() } } as Filter<StoredChat>)
        .sort({ "internal.due": 1 })
        .limit(limit)
        .project<Due>({
          chat_id: 1,
          due: "$internal.due",
          turn: "$internal.turn",
          gone: "$internal.gone",
          operationId: 1,
        })
        .toArray(),
    );
  },

  /** Takes a due chat for one sweep; false when another has it, or a send has moved it on. */
  async claim(tenant: Tenant, { _id, due }: Due, ms: number): Promise<boolean> {
    const update = { $set: { "internal.due": new Date(Date.now() + ms) } } as unknown as UpdateFilter<StoredChat>;
    const filter = { _id, subaccountId: tenant.subaccountId, "internal.due": due } as Filter<StoredChat>;
    return (await run(tenant, (chats) => chats.updateOne(filter, update))).modifiedCount === 1;
  },

  /**
   * Sets when a claimed chat is looked at again, and since when Retell has refused to show it; undefined: not any more,
   * and it has not. A send that came first has set its own time.
   */
  async setDue(
    tenant: Tenant,
    _id: Due["_id"],
    { due, refusedSince }: { due: Date | undefined; refusedSince: Date | undefined },
    seen: ReadChat,
  ): Promise<void> {
    const filter = { _id, ...present(tenant), "internal.rev": seen.internal?.rev } as Filter<StoredChat>;
    const $set = {
      ...(due && { "internal.due": due }),
      ...(refusedSince && { "internal.refusedSince": refusedSince }),
    };
    const $unset = { ...(!due && { "internal.due": "" }), ...(!refusedSince && { "internal.refusedSince": "" }) };
    await run(tenant, (chats) => chats.updateOne(filter, { $set, $unset } as UpdateFilter<StoredChat>));
  },

  /** Which of these chats the tenant has. */
  async known(tenant: Tenant, chatIds: string[]): Promise<Set<string>> {
    const filter = { ...present(tenant), chat_id: { $in: chatIds } };
    const found = await run(tenant, (chats) => chats.find(filter, local).project({ chat_id: 1 }).toArray());
    return new Set(found.map(({ chat_id }) => chat_id));
  },

  /**
   * Gives a chat up for good: puts a tombstone in its place, unless there is one. Whoever comes first has the chat: from
   * now on no create can store it.
   *
   * @param lookMs When the sweep looks at the tombstone: after that it ends the chat at Retell.
   * @returns The tombstone; null when the chat is stored, and so not to be given up.
   */
  async bury(tenant: Tenant, chat: Buried, why: Gone["why"], lookMs: number): Promise<Gone | null> {
    const { chat_id, subaccountId: _inFilter, ...rest } = tombstoneOf(tenant, chat, why, lookMs);
    const filter = tombstone(tenant, chat_id);
    try {
      const found = await run(tenant, (chats) =>
        chats.findOneAndUpdate(
          filter,
          { $setOnInsert: rest },
          { upsert: true, returnDocument: "after", projection: { internal: 1 } },
        ),
      );
      return found?.internal?.gone ?? null;
    } catch (error) {
      if (isDuplicate(error)) return null;
      throw error;
    }
  },

  /** The tombstone of a chat; null when there is none. */
  async gone(tenant: Tenant, chatId: string): Promise<Gone | null> {
    // As the primary has it, durable or not: a tombstone that is there must not be taken for absent.
    const options = { projection: { internal: 1 }, readConcern: "local" as const };
    const found = await run(tenant, (chats) => chats.findOne(tombstone(tenant, chatId), options));
    return found?.internal?.gone ?? null;
  },

  /** Notes that a chat that was given up is over at Retell. `due`: when the sweep looks at the tombstone again. */
  async goneAtRetell(tenant: Tenant, chatId: string, due: Date): Promise<void> {
    const filter = tombstone(tenant, chatId);
    const update = { $set: { "internal.gone.endedAt": new Date(), "internal.due": due } };
    await run(tenant, (chats) => chats.updateOne(filter, update as unknown as UpdateFilter<StoredChat>));
  },

  /** Has the sweep look at a tombstone, not before. */
  async postponeGone(tenant: Tenant, chatId: string, ms: number): Promise<void> {
    const filter = tombstone(tenant, chatId);
    const update = { $set: { "internal.due": new Date(Date.now() + ms) } } as unknown as UpdateFilter<StoredChat>;
    await run(tenant, (chats) => chats.updateOne(filter, update));
  },

  /** Removes a tombstone. */
  async removeGone(tenant: Tenant, chatId: string): Promise<void> {
    const filter = tombstone(tenant, chatId);
    await run(tenant, (chats) => chats.deleteOne(filter));
  },

  /** Has the sweep look at a chat, not before. */
  async postpone(tenant: Tenant, chatId: string, ms: number): Promise<void> {
    const update = { $set: { "internal.due": new Date(Date.now() + ms) } } as unknown as UpdateFilter<StoredChat>;
    await run(tenant, (chats) => chats.updateOne(one(tenant, chatId), update));
  },

  /** ADOPT: takes over a chat of the old server, with its history. Null: the chat has changed since it was read. */
  async adopt(tenant: Tenant, seen: ReadChat, messages: StoredMessage[], heard: number): Promise<ReadChat | null> {
    const lookMs = seen.chat_status === "ongoing" ? silenceMs : 60_000;
    return replaceSeen(tenant, seen, {
      $set: {
        messages,
        message_count: countOf(messages),
        transcript: "", // composed until the chat is over
        "internal.heard": heard,
        "internal.due": new Date(Date.now() + lookMs),
      },
      $unset: { "internal.importPending": "", "internal.turn": "" },
      $inc: { "internal.rev": 1 },
      $currentDate: { updatedAt: true },
    });
  },

  /** Marks a chat whose history does not fit into its document; false when it is marked already. */
  async overflows(tenant: Tenant, chatId: string): Promise<boolean> {
    const filter = { ...one(tenant, chatId), "internal.overflows": { $exists: false } };
    const update = { $set: { "internal.overflows": true } } as unknown as UpdateFilter<StoredChat>;
    return (await run(tenant, (chats) => chats.updateOne(filter, update))).modifiedCount === 1;
  },
};

/** A new chat's document, with the opening messages that Retell gave. */
export function newChat(
  fields: Pick<
    StoredChat,
    | "chat_id"
    | "agent_id"
    | "chat_status"
    | "start_timestamp"
    | "metadata"
    | "retell_llm_dynamic_variables"
    | "subaccountId"
    | "createdBy"
    | "operationId"
    | "retellAccountId"
  >,
  messages: StoredMessage[],
  request: string | undefined,
): StoredChat {
  const now = new Date();
  return {
    ...fields,
    end_timestamp: null,
    transcript: "",
    message_count: countOf(messages),
    messages,
    collected_dynamic_variables: {},
    chat_cost: null,
    chat_analysis: null,
    createdAt: now,
    updatedAt: now,
    lastMessageAt: now,
    internal: {
      rev: 1,
      heard: 0,
      base: 0,
      opening: messages.length,
      ...(request ? { request } : {}),
      due: new Date(now.getTime() + silenceMs),
      tags: tagsOf(fields.metadata),
    },
  };
}

/** What a user says, as it is stored before Retell hears it. */
export function userMessage(
  content: string,
  turnId: string,
  idempotency: Idempotency | undefined,
): StoredMessage & { message_id: string } {
  return {
    message_id: newMessageId(),
    role: "user",
    content,
    created_timestamp: Date.now(),
    internal: { turn: turnId, own: true, ...(idempotency ? { key: idempotency.id, hash: idempotency.hash } : {}) },
  };
}

/** Whether an entry is words alone. After a turn with more than that the agent may have ended the chat. */
export const isPlain = ({ role }: Entry) => role === "agent" || role === "user";

function tagsOf(metadata: Record<string, unknown>): string[] {
  return Object.entries(metadata)
    .filter(([, value]) => ["string", "number", "boolean"].includes(typeof value))
    .map(([name, value]) => `${name}=${value}`.slice(0, 256));
}

/**
 * Two ranges of one index, merged in its order: but for tombstones, no document is read that is not shown. `$expr`
 * compares across types as the index does, where `$lt` by itself finds values of one type alone.
 */
async function olderThan(shown: object, after: Position): Promise<object[]> {
  const [start_timestamp, chat_id] = [await toBson(after.start_timestamp), await toBson(after.chat_id)];
  const older = { ...below("start_timestamp", start_timestamp), chat_id: noList };
  const sameTime = { ...below("chat_id", chat_id), start_timestamp: { $eq: start_timestamp, ...noList } };
  return [older, sameTime].map((range) => ({ ...shown, ...range }));
}

async function toBson(key: Key): Promise<unknown> {
  if (typeof key !== "object" || key === null) return key;
  const { Decimal128, Long, MaxKey, ObjectId } = await driver();
  if ("$date" in key) return new Date(key.$date);
  if ("$numberDouble" in key) return Number(key.$numberDouble);
  if ("$numberLong" in key) return Long.fromString(key.$numberLong);
  if ("$numberDecimal" in key) return Decimal128.fromString(key.$numberDecimal);
  return "$oid" in key ? new ObjectId(key.$oid) : new MaxKey();
}

/** A list is sorted by one of its items, and compared by the others too: it would come again on later pages. */
const noList = { $not: { $type: "array" } };

function below(field: keyof SortKeys, value: unknown): object {
  // Absent is null to the index, and less than null to $expr.
  if (value === null) return { [field]: { $type: "minKey" } };
  return { [field]: noList, $expr: { $lt: [`$${field}`, { $literal: value }] } };
}

/** One document without a list of messages must not take a whole list of chats down. */
const listOfMessages = { $cond: [{ $isArray: "$messages" }, "$messages", []] };

/** `isAdopted`, of a chat that has `heard`. */
const writtenByUs = [
  { "messages.0.internal": { $exists: true } },
  { messages: { $size: 0 }, "internal.heard": 0, "internal.opening": { $in: [0, null] } },
];

/** `countOf`, in MongoDB. */
const countedAnew = {
  $size: {
    $filter: {
      input: listOfMessages,
      cond: { $and: [{ $in: ["$$this.role", ["agent", "user"]] }, { $ne: ["$$this.internal.failed", true] }] },
    },
  },
};

/** A chat of the old server counts tool calls as messages; ours need not be counted again. */
const countedByUs = {
  $cond: [{ $gt: ["$internal.heard", null] }, "$message_count", countedAnew],
};

const sizeOnly = { _id: 0, n: { $size: "$messages" }, internal: 1, chat_status: 1, agent_id: 1 };
type Sized = Pick<StoredChat, "internal"> & { n: number };
const lastSeq = ({ n, internal }: Sized) => n - (internal?.base ?? 0);

/** A message that came with a key. Of one that has failed the key is free, unless it may have been delivered. */
const sentWith = (key: string) => ({
  "internal.key": key,
  $or: [{ "internal.failed": { $exists: false } }, { "internal.undecided": true }],
});

/** A subaccount's chats. This is the one place that leaves tombstones out. */
const present = ({ subaccountId }: Pick<Tenant, "subaccountId">) => ({ subaccountId, ...isPresent });

export const isPresent = { "internal.gone": { $exists: false } };
const isGone = { "internal.gone": { $exists: true } };

function one(tenant: Tenant, chatId: string) {
  return { ...present(tenant), chat_id: chatId } satisfies Filter<StoredChat>;
}

const tombstone = ({ subaccountId }: Tenant, chatId: string) =>
  ({ subaccountId, chat_id: chatId, ...isGone }) as Filter<StoredChat>;

/** Every field that a reader of chats expects, this server or the one that it replaces: an empty chat that has ended. */
function tombstoneOf(
  { subaccountId }: Tenant,
  { chat_id, agent_id = "", start_timestamp, operationId = "" }: Buried,
  why: Gone["why"],
  lookMs: number,
): StoredChat {
  const at = new Date();
  const fields = {
    chat_id,
    agent_id,
    chat_status: "ended" as const,
    start_timestamp: start_timestamp ?? at.getTime(),
    metadata: {},
    retell_llm_dynamic_variables: {},
    subaccountId,
    createdBy: "",
    operationId,
    retellAccountId: "",
  };
  return {
    ...newChat(fields, [], undefined),
    end_timestamp: at.getTime(),
    endedAt: at,
    internal: { rev: 1, heard: 0, due: new Date(at.getTime() + lookMs), gone: { at, why } },
  };
}

/** What FAIL writes. */
function failure(tenant: Tenant, chatId: string, turnId: string, why: FailedWhy = {}) {
  return {
    filter: { ...one(tenant, chatId), "internal.turn.id": turnId } as Filter<StoredChat>,
    update: {
      $set: {
        "messages.$[m].internal.failed": true,
        ...(why.mayArrive ? { "messages.$[m].internal.mayArrive": true } : {}),
        ...(why.sentAt === undefined ? {} : { "messages.$[m].internal.sentAt": why.sentAt }),
        ...(why.undecided ? { "messages.$[m].internal.undecided": true } : {}),
        "internal.due": new Date(Date.now() + silenceMs),
      },
      $unset: { "internal.turn": "" },
      $inc: { "internal.rev": 1, message_count: -1 },
      $currentDate: { updatedAt: true },
    } as UpdateFilter<StoredChat>,
    arrayFilters: [{ "m.internal.turn": turnId, "m.role": "user" }],
  };
}

/** Changes a chat only if it still is as it was read: same revision, same turn or none. */
function replaceSeen(tenant: Tenant, seen: ReadChat, update: object): Promise<ReadChat | null> {
  return counting(tenant, seen.chat_id, async (chats) => {
    const changed = await chats.findOneAndUpdate(
      {
        ...one(tenant, seen.chat_id),
        "internal.rev": seen.internal?.rev,
        "internal.turn.id": seen.internal?.turn?.id ?? { $exists: false },
      } as Filter<StoredChat>,
      update as UpdateFilter<StoredChat>,
      { returnDocument: "after", projection: { _id: 0 } },
    );
    return changed && readable({ ...(changed as StoredChat), now: seen.now });
  });
}

/**
 * Finds what a majority of the set has: what a client is told, no failover may take back. A document that only the
 * primary has is neither there nor absent: it is waited for.
 *
 * @throws CONNECTION_FAILED when a majority does not get it
 */
function findDurable<T>(
  tenant: Tenant,
  filter: Filter<StoredChat>,
  find: (chats: Collection<StoredChat>) => Promise<T | null>,
): Promise<T | null> {
  return run(tenant, async (chats) => {
    const until = Date.now() + durableMs;
    for (;;) {
      const found = await find(chats);
      if (found || !(await chats.findOne(filter, { ...local, projection: { _id: 1 } }))) return found;
      if (Date.now() > until) throw new ApiError("CONNECTION_FAILED");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
}

/** How long a document that the primary has just got is waited for: a majority has it within milliseconds. */
const durableMs = 1_000;

/** Reads what the primary has, durable or not: what is there must not be taken for absent. */
const local = { readConcern: "local" } as const;

/** A write that counts messages. Others write here too: a count that is no number would refuse it, and is made anew. */
function counting<T>(tenant: Tenant, chatId: string, write: (chats: Collection<StoredChat>) => Promise<T>): Promise<T> {
  return run(tenant, async (chats) => {
    try {
      return await write(chats);
    } catch (error) {
      if (!isTypeMismatch(error)) throw error;
      const filter = { ...one(tenant, chatId), $expr: { $not: [{ $isNumber: "$message_count" }] } };
      await chats.updateOne(filter, [{ $set: { message_count: countedAnew } }]);
      return write(chats);
    }
  });
}

function run<T>(tenant: Tenant, operation: (chats: Collection<StoredChat>) => Promise<T>): Promise<T> {
  const work = async () => operation((await tenant.db()).collection<StoredChat>("chats"));
  return tenant.log.time("mongo", bounded(work()));
}
