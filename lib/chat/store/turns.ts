import type { Filter, UpdateFilter } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import { type ChatSnapshot, countOf, type StoredChat, type StoredMessage, type Turn } from "../model.ts";
import { maxChatBytes } from "../size.ts";
import { silentChatMs, unknownChatMs } from "../timing.ts";
import { msFromNow, oneChat, run, runCounting } from "./collection.ts";
import { importedOnly, sentWith } from "./obstacle.ts";

/**
 * The writes of the turn protocol (docs/turns.md). Each one names the state that it was decided on, and changes nothing
 * in another state.
 */

/**
 * How many turns a chat remembers in `cancelled` and `endPending`. A turn stands there for seconds, and a chat has few
 * senders.
 */
const maxRemembered = 10;

/** What BEGIN writes. */
interface NewTurn {
  id: string;
  operationId: string;
  message: StoredMessage;
  leaseMs: number;
}

/** What is known of a failed send. */
interface FailedSend {
  /** It may be delivered late. */
  mayArrive?: boolean;
  /** When its turn began (epoch ms, server clock). */
  sentAt?: number;
  /** Retell has an entry that may be this send, or somebody else's. */
  undecided?: boolean;
}

/**
 * BEGIN: stores what the user says and takes the chat's one turn, in one step.
 *
 * @returns The user's seq; null when the chat is missing, over, busy, full or not imported yet: see `findObstacle`.
 */
export async function begin(
  tenant: TenantContext,
  chatId: string,
  { id, operationId, message, leaseMs }: NewTurn,
): Promise<{ seq: number; agentId: unknown; startedAt: number } | null> {
  const key = message.internal?.key;
  const begun = await updateAndCount(
    tenant,
    chatId,
    {
      ...oneChat(tenant, chatId),
      chat_status: "ongoing",
      "internal.turn": { $exists: false },
      "internal.retellUserCount": { $exists: true },
      "internal.cancelled": { $ne: id },
      "internal.overflows": { $exists: false },
      $and: [{ $or: importedOnly }],
      ...(key ? { messages: { $not: { $elemMatch: sentWith(key) } } } : {}),
      $expr: { $lt: [{ $bsonSize: "$$ROOT" }, maxChatBytes] },
    },
    {
      $push: { messages: message },
      $set: {
        "internal.turn.id": id,
        "internal.turn.operationId": operationId,
        "internal.turn.state": "sending",
        "internal.nextSweepAt": msFromNow(leaseMs),
      },
      $inc: { "internal.revision": 1, message_count: 1 },
      $currentDate: { "internal.turn.at": true, lastMessageAt: true, updatedAt: true },
    },
  );
  return begun && { seq: begun.lastSeq, agentId: begun.agent_id, startedAt: begun.start_timestamp };
}

/**
 * FINISH: appends the reply and frees the chat. It needs neither status nor time: the chat's end may have been stored
 * first, and a late sender may still finish what nobody else settled.
 *
 * @param waitMs       When the sweep looks next: soon after a reply that may have ended the chat.
 * @param isEndPending What a repeat is told of the chat's end is still to be decided: see endings.ts.
 * @returns The seq of the reply's first entry, the chat's status, and the turn in which the chat ended; null when
 *          somebody else has settled the turn, or when the chat has an entry of the reply already.
 */
export async function finish(
  tenant: TenantContext,
  chatId: string,
  turnId: string,
  reply: StoredMessage[],
  { waitMs = silentChatMs, isEndPending = false }: { waitMs?: number; isEndPending?: boolean },
): Promise<(Pick<StoredChat, "chat_status"> & { seq: number; endedIn: string | undefined }) | null> {
  const ids = reply.filter(({ internal }) => !internal?.hasLocalId).map(({ message_id }) => message_id);
  const finished = await updateAndCount(
    tenant,
    chatId,
    {
      ...oneChat(tenant, chatId),
      "internal.turn.id": turnId,
      ...(ids.length > 0 ? { "messages.message_id": { $nin: ids } } : {}),
    },
    {
      $push: {
        messages: { $each: reply },
        ...(isEndPending ? { "internal.endPending": { $each: [turnId], $slice: -maxRemembered } } : {}),
      },
      $unset: { "internal.turn": "" },
      $inc: { "internal.revision": 1, "internal.retellUserCount": 1, message_count: countOf(reply) },
      $set: { "internal.nextSweepAt": msFromNow(waitMs) },
      $currentDate: { lastMessageAt: true, updatedAt: true },
    },
  );
  if (!finished) return null;
  const { lastSeq, chat_status, internal } = finished;
  return { seq: lastSeq - reply.length + 1, chat_status, endedIn: internal?.endedIn };
}

/**
 * FAIL: the message stays, marked as failed. The chat is free, and so is the key, unless the outcome is `undecided`.
 *
 * @param seen The reading that it was decided on, if there is one: a refusal that was noted since may decide otherwise.
 */
export async function fail(
  tenant: TenantContext,
  chatId: string,
  turnId: string,
  send: FailedSend = {},
  seen?: ChatSnapshot,
): Promise<boolean> {
  const { filter: open, update, arrayFilters } = failUpdate(tenant, chatId, turnId, send);
  const filter = { ...open, ...(seen ? { "internal.revision": seen.internal?.revision } : {}) };
  const { modifiedCount } = await runCounting(tenant, chatId, (chats) =>
    chats.updateOne(filter, update, { arrayFilters }),
  );
  return modifiedCount === 1;
}

/**
 * FAIL of a turn whose BEGIN had no answer. MongoDB may still be working on that BEGIN, and may carry this out first:
 * then the turn does not begin any more. Both in one command, in this order.
 */
export async function cancel(tenant: TenantContext, chatId: string, turnId: string): Promise<void> {
  const note: UpdateFilter<StoredChat> = {
    $push: { "internal.cancelled": { $each: [turnId], $slice: -maxRemembered } },
  };
  await runCounting(tenant, chatId, (chats) =>
    chats.bulkWrite([
      { updateOne: { filter: oneChat(tenant, chatId), update: note } },
      { updateOne: failUpdate(tenant, chatId, turnId) },
    ]),
  );
}

/** MARK: the outcome of the turn is unknown; the next send, read or sweep settles it. */
export async function mark(
  tenant: TenantContext,
  chatId: string,
  turnId: string,
  { refusedByRetell, failedByRetell }: Pick<Turn, "refusedByRetell" | "failedByRetell">,
): Promise<void> {
  await run(tenant, (chats) =>
    chats.updateOne(
      { ...oneChat(tenant, chatId), "internal.turn.id": turnId },
      {
        $set: {
          "internal.turn.state": "unknown",
          "internal.nextSweepAt": msFromNow(unknownChatMs),
          ...(refusedByRetell ? { "internal.turn.refusedByRetell": true } : {}),
          ...(failedByRetell ? { "internal.turn.failedByRetell": true } : {}),
        },
        $inc: { "internal.revision": 1 },
        $currentDate: { "internal.turn.markedAt": true },
      },
    ),
  );
}

/** What FAIL writes. */
function failUpdate(
  tenant: TenantContext,
  chatId: string,
  turnId: string,
  { mayArrive, sentAt, undecided }: FailedSend = {},
) {
  const update: UpdateFilter<StoredChat> = {
    $set: {
      "messages.$[m].internal.failed": true,
      ...(mayArrive ? { "messages.$[m].internal.mayArrive": true } : {}),
      ...(sentAt === undefined ? {} : { "messages.$[m].internal.sentAt": sentAt }),
      ...(undecided ? { "messages.$[m].internal.undecided": true } : {}),
      "internal.nextSweepAt": msFromNow(silentChatMs),
    },
    $unset: { "internal.turn": "" },
    $inc: { "internal.revision": 1, message_count: -1 },
    $currentDate: { updatedAt: true },
  };
  return {
    filter: { ...oneChat(tenant, chatId), "internal.turn.id": turnId },
    update,
    arrayFilters: [{ "m.internal.turn": turnId, "m.role": "user" }],
  };
}

/** What an answer needs of a chat after a write, whose messages are not read. */
type Counted = Pick<StoredChat, "chat_status" | "agent_id" | "start_timestamp" | "internal"> & { lastSeq: number };

const countedFields = {
  _id: 0,
  count: { $size: "$messages" },
  internal: 1,
  chat_status: 1,
  agent_id: 1,
  start_timestamp: 1,
};

async function updateAndCount(
  tenant: TenantContext,
  chatId: string,
  filter: Filter<StoredChat>,
  update: UpdateFilter<StoredChat>,
): Promise<Counted | null> {
  const options = { returnDocument: "after", projection: countedFields } as const;
  const changed = await runCounting(tenant, chatId, (chats) => chats.findOneAndUpdate(filter, update, options));
  if (!changed) return null;
  // The driver types what it returns as a whole chat, whatever the projection.
  const { count, internal, ...fields } = changed as typeof changed & { count: number };
  return { ...fields, internal, lastSeq: count - (internal?.prependedCount ?? 0) };
}
