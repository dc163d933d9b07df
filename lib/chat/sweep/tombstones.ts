import { asFailure, RetellError } from "../../retell/errors.ts";
import type { ChatContext } from "../context.ts";
import type { Tombstone } from "../model.ts";
import * as tombstones from "../store/tombstones.ts";
import { minTombstoneWaitMs, tombstoneMs } from "../timing.ts";
import { callSignal } from "./run.ts";

/**
 * Ends a chat at Retell that was given up, and removes its tombstone in the end.
 *
 * @param operationId Of the create that left it.
 * @returns Whether it was ended now.
 */
export async function sweepTombstone(
  context: ChatContext,
  tombstone: Tombstone,
  operationId: string,
): Promise<boolean> {
  const ageMs = Date.now() - tombstone.at.getTime();
  if (ageMs >= tombstoneMs && tombstone.why !== "deleted") {
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
  { tenant, chatId, retell }: ChatContext,
  tombstone: Tombstone,
  operationId?: string,
): Promise<RetellError | undefined> {
  const refusal = await retell.end(chatId, callSignal()).then(() => undefined, asFailure);
  if (refusal) {
    if (refusal.kind !== "refused") return refusal;
    // It is over already, or cannot be ended: a read tells.
    const read = await retell.retrieve(chatId, callSignal()).catch(asFailure);
    if (read instanceof RetellError) return read;
    if (read.chat_status === "ongoing") return refusal;
  }
  await tombstones.markEnded(tenant, chatId, new Date(tombstone.at.getTime() + tombstoneMs));
  const about = operationId ? { operationId, settledBy: tenant.log.fields.operationId } : {};
  tenant.log.warn("An orphan was ended at Retell", refusal, { ...about, chatId });
  return undefined;
}
