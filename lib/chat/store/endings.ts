import type { UpdateFilter } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import type { ChatSnapshot, StoredChat } from "../model.ts";
import { statsUpdate } from "../stats.ts";
import { endedChatMs } from "../timing.ts";
import { msFromNow, nextRevision, oneChat, run, updateUnchanged } from "./collection.ts";

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
 * Writes how a chat finished. The first end_timestamp and endedAt stay. The sweep looks once more even if nothing is
 * missing: it indexes the chat for the search.
 */
export async function close(tenant: TenantContext, seen: ChatSnapshot, ending: Ending): Promise<ChatSnapshot | null> {
  const isOpen = seen.internal?.turn !== undefined; // the turn decides when the sweep looks
  return updateUnchanged(tenant, seen, {
    $set: {
      ...ending,
      ...statsUpdate({ ...seen, ...ending }),
      "internal.endingRevision": nextRevision(seen),
      ...(isOpen ? {} : { "internal.nextSweepAt": msFromNow(endedChatMs) }),
    },
    $inc: { "internal.revision": 1 },
    $currentDate: { updatedAt: true },
  });
}

/**
 * Notes the turn whose answer reports that the chat is over. The sweep looks soon, as FINISH took the chat for an
 * ongoing one.
 *
 * @returns Whether it is noted: not if another turn is, or if a repeat was told that the chat goes on (`isEndPending`).
 */
export async function noteEndedIn(
  tenant: TenantContext,
  chatId: string,
  turnId: string,
  isEndPending: boolean,
): Promise<boolean> {
  const filter = {
    ...oneChat(tenant, chatId),
    "internal.endedIn": { $in: [null, turnId] },
    ...(isEndPending ? { "internal.endPending": turnId } : {}),
  };
  const update = {
    $set: { "internal.endedIn": turnId, "internal.nextSweepAt": msFromNow(endedChatMs) },
    $inc: { "internal.revision": 1 },
  };
  const { matchedCount } = await run(tenant, (chats) => chats.updateOne(filter, update));
  return matchedCount === 1;
}

/**
 * Whether `noteEndedIn` would note this turn, by a chat that was read: no other turn is noted, and no repeat was told
 * that the chat goes on. While the turn is open, no repeat was told anything.
 */
export function mayNoteEndedIn({ internal }: ChatSnapshot, turnId: string | undefined): turnId is string {
  if (turnId === undefined || internal?.endedIn !== undefined) return false;
  return internal?.turn?.id === turnId || internal?.endPending?.includes(turnId) === true;
}

/**
 * Decides that the answer of a turn does not report the chat's end, unless it is noted that it does. Repeats keep to
 * it.
 */
export async function noteNotEnded(tenant: TenantContext, chatId: string, turnId: string): Promise<void> {
  const filter = { ...oneChat(tenant, chatId), "internal.endPending": turnId, "internal.endedIn": { $ne: turnId } };
  const update: UpdateFilter<StoredChat> = {
    $pull: { "internal.endPending": turnId },
    $inc: { "internal.revision": 1 },
  };
  await run(tenant, (chats) => chats.updateOne(filter, update));
}

/** Notes that a client asked for the end and Retell did not make it: the sweep tries again. */
export async function noteFailedEnd(tenant: TenantContext, chatId: string): Promise<void> {
  await run(tenant, (chats) =>
    chats.updateOne(
      { ...oneChat(tenant, chatId), chat_status: "ongoing" },
      {
        $set: { "internal.nextSweepAt": msFromNow(endedChatMs) },
        $currentDate: { "internal.endRequestedAt": true },
      },
    ),
  );
}
