import { asFailure, RetellError } from "../../retell/errors.ts";
import type { ChatContext } from "../context.ts";
import { deleteAtRetell, removeTraces } from "../delete.ts";
import { endAtRetell } from "../end.ts";
import type { Tombstone } from "../model.ts";
import * as tombstones from "../store/tombstones.ts";
import { maxSilentWaitMs, minTombstoneWaitMs, tombstoneMs } from "../timing.ts";
import { showsAnotherChat } from "./deleted.ts";
import { callSignal } from "./run.ts";

/**
 * Ends a chat at Retell that was given up, and removes its tombstone in the end. That of a deleted chat stays.
 *
 * @param operationId Of the create that left it.
 * @returns Whether it was ended now.
 */
export async function sweepTombstone(
  context: ChatContext,
  tombstone: Tombstone,
  operationId: string,
): Promise<boolean> {
  if (tombstone.why === "deleted") {
    await sweepDeleted(context, tombstone);
    return false;
  }
  const ageMs = Date.now() - tombstone.at.getTime();
  if (ageMs >= tombstoneMs) {
    await tombstones.remove(context.tenant, context.chatId);
    return false;
  }
  if (tombstone.endedAt) return false;
  const failure = await endGivenUp(context, tombstone, operationId);
  if (failure?.isAccountWide) throw failure;
  if (failure) await tombstones.postpone(context.tenant, context.chatId, Math.max(minTombstoneWaitMs, ageMs));
  return !failure;
}

/**
 * Ends a chat at Retell in whose place there is a tombstone.
 *
 * @param operationId Of the create that left it, where that is known: it is logged under that.
 * @returns Why it could not be ended.
 */
export async function endGivenUp(
  context: ChatContext,
  tombstone: Tombstone,
  operationId?: string,
): Promise<RetellError | undefined> {
  const { tenant, chatId } = context;
  const failure = await endAtRetell(context, callSignal);
  if (failure) return failure;
  await tombstones.markEnded(tenant, chatId, new Date(tombstone.at.getTime() + tombstoneMs));
  const about = operationId ? { operationId, settledBy: tenant.log.fields.operationId } : {};
  tenant.log.warn("An orphan was ended at Retell", undefined, { ...about, chatId });
  return undefined;
}

/**
 * Does what is left to do for a deleted chat. A request that ran beside the deletion may have written something after
 * it, so this is done once more when all of these are over.
 */
async function sweepDeleted(context: ChatContext, tombstone: Tombstone): Promise<void> {
  const { tenant, chatId } = context;
  const traces = await removeTraces(tenant, chatId).catch((error: unknown) => error);
  const ageMs = Date.now() - tombstone.at.getTime();
  // After 72 hours Retell has closed it for its silence.
  const isOver = tombstone.endedAt !== undefined || tombstone.atRetell === "deleted" || ageMs >= tombstoneMs;
  const open = isOver ? undefined : await endAtRetell(context, callSignal);
  const kept = tombstone.atRetell === "pending" ? await deleteForGood(context) : undefined;
  const failure = tombstone.atRetell ? kept : open; // a chat that Retell does not have is over
  const waitMs = Math.min(maxSilentWaitMs, Math.max(minTombstoneWaitMs, ageMs));
  await tombstones.note(
    tenant,
    chatId,
    {
      ...(failure ? {} : { endedAt: tombstone.endedAt ?? new Date() }),
      ...(tombstone.atRetell && !kept ? { atRetell: "deleted" } : {}),
    },
    failure || traces ? waitMs : undefined,
  );
  if (failure?.isAccountWide) throw failure;
  if (failure || traces) tenant.log.warn("A deleted chat is not gone everywhere yet", failure ?? traces);
  else if (!isOver || tombstone.atRetell === "pending")
    tenant.log.info("A deleted chat was ended or deleted at Retell");
}

/** @returns Why Retell may still have the chat; undefined when it has not. */
async function deleteForGood(context: ChatContext): Promise<RetellError | undefined> {
  const { chatId, retell } = context;
  const refusal = await deleteAtRetell(context, callSignal());
  if (refusal?.kind !== "refused") return refusal;
  // Retell refuses what it does not have, and every chat of another workspace.
  const read = await retell.retrieve(chatId, callSignal()).catch(asFailure);
  const isUnknown = read instanceof RetellError && read.kind === "refused";
  return isUnknown && (await showsAnotherChat(context)) ? undefined : refusal;
}
