import type { TenantContext } from "../../access/tenant.ts";
import { type ChatSnapshot, countOf, type StoredMessage, type Turn } from "../model.ts";
import { statsUpdate } from "../stats.ts";
import { endedChatMs, silentChatMs } from "../timing.ts";
import { msFromNow, nextRevision, oneChat, run, updateUnchanged } from "./collection.ts";

/**
 * What settling writes. Each write names the reading that it was decided on; where the chat has changed since, nothing
 * is written and the function returns null.
 */

/**
 * Appends what Retell has and we lack, and closes the open turn.
 *
 * @param endedIn The turn in which the agent ended the chat, if this history shows it.
 */
export async function append(
  tenant: TenantContext,
  seen: ChatSnapshot,
  entries: StoredMessage[],
  retellUserCount: number,
  endedIn: string | undefined,
): Promise<ChatSnapshot | null> {
  return updateUnchanged(tenant, seen, {
    $push: { messages: { $each: entries } },
    $unset: { "internal.turn": "" },
    $inc: { "internal.revision": 1, message_count: countOf(entries) },
    $set: {
      "internal.retellUserCount": retellUserCount,
      "internal.nextSweepAt": msFromNow(silentChatMs),
      ...(endedIn ? { "internal.endedIn": endedIn } : {}),
      ...statsWith(seen, [...seen.messages, ...entries]),
    },
    $currentDate: { lastMessageAt: true, updatedAt: true },
  });
}

/** Puts opening messages in front; `prependedCount` keeps every seq that was shown. */
export async function prepend(
  tenant: TenantContext,
  seen: ChatSnapshot,
  entries: StoredMessage[],
): Promise<ChatSnapshot | null> {
  return updateUnchanged(tenant, seen, {
    $push: { messages: { $each: entries, $position: 0 } },
    $inc: { "internal.revision": 1, "internal.prependedCount": entries.length, message_count: countOf(entries) },
    $set: statsWith(seen, [...entries, ...seen.messages], seen.internal?.turn),
    $currentDate: { updatedAt: true },
  });
}

/** Replaces the text of one entry, or marks it as shortened. Its seq and message_id stay. */
export async function correct(
  tenant: TenantContext,
  seen: ChatSnapshot,
  index: number,
  fields: { content: string } | { "internal.shortened": true },
): Promise<ChatSnapshot | null> {
  const revision = { "internal.changedRevision": nextRevision(seen) };
  const set = Object.entries({ ...fields, ...revision }).map(([name, value]) => [`messages.${index}.${name}`, value]);
  return updateUnchanged(tenant, seen, {
    $set: { ...Object.fromEntries(set), transcript: "" }, // of a chat that is over it is written again
    $inc: { "internal.revision": 1 },
    $currentDate: { updatedAt: true },
  });
}

/** IMPORT: replaces the messages of a chat of the old server by its whole history. */
export async function importMessages(
  tenant: TenantContext,
  seen: ChatSnapshot,
  messages: StoredMessage[],
  retellUserCount: number,
): Promise<ChatSnapshot | null> {
  const waitMs = seen.chat_status === "ongoing" ? silentChatMs : endedChatMs;
  return updateUnchanged(tenant, seen, {
    $set: {
      messages,
      message_count: countOf(messages),
      transcript: "", // composed until the chat is over
      "internal.retellUserCount": retellUserCount,
      "internal.importedRevision": nextRevision(seen),
      "internal.nextSweepAt": msFromNow(waitMs),
      ...statsWith(seen, messages),
    },
    $unset: { "internal.importPending": "", "internal.turn": "" },
    $inc: { "internal.revision": 1 },
    $currentDate: { updatedAt: true },
  });
}

/** The stats of a chat with other messages, if it is over. `turn`: the open turn, if the write leaves it open. */
function statsWith({ internal, ...seen }: ChatSnapshot, messages: StoredMessage[], turn?: Turn) {
  const { turn: _closed, ...rest } = internal ?? { revision: 0, retellUserCount: 0 };
  return statsUpdate({ ...seen, messages, internal: { ...rest, ...(turn ? { turn } : {}) } });
}

/** Marks a chat whose history does not fit into its document; false when it is marked already. */
export async function markOverflowing(tenant: TenantContext, chatId: string): Promise<boolean> {
  const filter = { ...oneChat(tenant, chatId), "internal.overflows": { $exists: false } };
  const update = { $set: { "internal.overflows": true as const } };
  return (await run(tenant, (chats) => chats.updateOne(filter, update))).modifiedCount === 1;
}
