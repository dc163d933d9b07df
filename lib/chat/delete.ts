import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import { ApiError } from "../platform/errors.ts";
import { retellFor } from "../retell/client.ts";
import { asFailure, isRetellOrAccount, type RetellError } from "../retell/errors.ts";
import * as cache from "./cache.ts";
import type { ChatContext } from "./context.ts";
import { endAtRetell } from "./end.ts";
import type { Tombstone } from "./model.ts";
import * as searchIndex from "./search/mongo-index.ts";
import * as tombstones from "./store/tombstones.ts";
import { deletePatienceMs, leaseMs } from "./timing.ts";

/**
 * Deletes a chat, in whatever state it is: it is ended at Retell, then a tombstone takes its place, and nothing is
 * stored for it any more. What Retell does not do now, the sweep does. A running turn is not waited for: its reply is
 * stored nowhere. A second deletion is a success.
 *
 * @param atRetell Whether Retell's copy is deleted, too.
 * @returns        What became of Retell's copy; undefined when nobody has asked for its deletion.
 * @throws CHAT_NOT_FOUND when this subaccount never had such a chat
 */
export async function deleteChat(
  tenant: TenantContext,
  chatId: string,
  atRetell: boolean,
  deadline: Deadline,
): Promise<Tombstone["atRetell"]> {
  const found = await tombstones.findDeletable(tenant, chatId);
  if (!found || (found.tombstone && found.tombstone.why !== "deleted")) throw new ApiError("CHAT_NOT_FOUND");
  const signal = () => AbortSignal.any([deadline.callSignal(), AbortSignal.timeout(deletePatienceMs)]);
  const isFirst = !found.tombstone;
  const isOngoing = isFirst && found.chat_status === "ongoing";
  const isWanted = atRetell && found.tombstone?.atRetell !== "deleted";
  const context = isOngoing || isWanted ? await contextIfKnown(tenant, chatId) : undefined;

  let isReplaced = false; // another request may delete it at the same time
  if (isFirst) {
    const isOver = !isOngoing || (context !== undefined && (await succeeds(tenant, endAtRetell(context, signal))));
    const at = new Date();
    const tombstone: Tombstone = {
      at,
      why: "deleted",
      // Retell may still be at work on an open turn: the sweep ends the chat once more.
      ...(isOver && !found.turn ? { endedAt: at } : {}),
      ...(isWanted ? { atRetell: "pending" } : {}),
    };
    isReplaced = await tombstones.replaceChat(tenant, chatId, found, tombstone, leaseMs());
  }
  if (isWanted && !isReplaced) {
    await tombstones.note(tenant, chatId, { atRetell: "pending" }, leaseMs());
  }
  // A tombstone is due: the sweep does what fails from here on.
  await removeTraces(tenant, chatId).catch((error) => tenant.log.warn("Traces of a deleted chat are left", error));
  if (!isWanted) return found.tombstone?.atRetell;
  const isGone = context !== undefined && (await succeeds(tenant, deleteAtRetell(context, signal())));
  if (!isGone || found.turn) return "pending";
  await tombstones.note(tenant, chatId, { atRetell: "deleted" }, leaseMs());
  return "deleted";
}

/**
 * Removes what other places hold of a deleted chat. It may be repeated. Done before the tombstone is written, it would
 * be of no use: a reader could store it again.
 *
 * @throws When a place cannot be reached.
 */
export async function removeTraces(tenant: TenantContext, chatId: string): Promise<void> {
  const { subaccountId } = tenant;
  await Promise.all([
    cache.forgetOrThrow([cache.listKey(subaccountId), cache.chatKey(subaccountId, chatId)]),
    searchIndex.remove(tenant, chatId),
  ]);
}

/** @returns Why Retell may still have the chat; undefined when it has deleted it. */
export function deleteAtRetell({ chatId, retell }: ChatContext, signal: AbortSignal): Promise<RetellError | undefined> {
  return retell.delete(chatId, signal).then(() => undefined, asFailure);
}

/** Undefined when the subaccount's Retell account cannot be used now. */
async function contextIfKnown(tenant: TenantContext, chatId: string): Promise<ChatContext | undefined> {
  try {
    return { tenant, chatId, retell: await retellFor(tenant) };
  } catch (error) {
    if (!isRetellOrAccount(error)) throw error;
    tenant.log.warn("A chat is deleted without Retell", error);
    return undefined;
  }
}

async function succeeds({ log }: TenantContext, call: Promise<RetellError | undefined>): Promise<boolean> {
  const failure = await call;
  if (failure) log.warn("Retell has not done its part of a deletion: the sweep repeats it", failure);
  return !failure;
}
