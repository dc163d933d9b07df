import type { ObjectId } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import { ApiError, tenantCauseOf } from "../../platform/errors.ts";
import { RequestLog } from "../../platform/logger.ts";
import type { ChatContext } from "../context.ts";
import { removeTraces } from "../delete.ts";
import { retryEnd } from "../end.ts";
import { isComplete, type Turn } from "../model.ts";
import { isFinal } from "../read.ts";
import { type Settled, settle } from "../settle.ts";
import * as chats from "../store/chats.ts";
import type { DueChat } from "../store/schedule.ts";
import * as schedule from "../store/schedule.ts";
import { claimMs, inactiveAccountWaitMs } from "../timing.ts";
import { closeDeleted, isDeletedAtRetell } from "./deleted.ts";
import { isAnswer, nextSweepAt } from "./next.ts";
import { activeRetell, callSignal, countFailed, countFailing, type SweepRun } from "./run.ts";
import type { Subaccount } from "./subaccounts.ts";
import { sweepTombstone } from "./tombstones.ts";
import { indexAndReschedule } from "./words.ts";

/** Handles the due chats of one subaccount. */
export async function sweepDueChats(subaccount: Subaccount, tenant: TenantContext, run: SweepRun): Promise<void> {
  const { bounds, result } = run;
  const dueChats = await schedule.due(tenant, bounds.perSubaccount);
  if (dueChats.length === 0) return;
  const openSince = new Map<string, Date>();
  for (const { chat_id, turn } of dueChats) if (turn?.at instanceof Date) openSince.set(chat_id, turn.at);
  try {
    const retell = await activeRetell(tenant);
    if (!retell) {
      openSince.clear(); // they wait for the account
      countFailing(subaccount, run);
      return await postponeAll(tenant, dueChats);
    }
    for (const due of dueChats) {
      if (Date.now() > bounds.until) break;
      if (!(await schedule.claim(tenant, due, claimMs))) continue; // another sweep has it
      const log = new RequestLog({ ...tenant.log.fields, chatId: due.chat_id }, tenant.log.metrics);
      const context = { tenant: { ...tenant, log }, chatId: due.chat_id, retell };
      try {
        if (due.tombstone) {
          if (await sweepTombstone(context, due.tombstone, due.operationId)) result.orphansEnded += 1;
          continue;
        }
        const { chat, failure } = await sweepChat(context, due._id);
        if (chat.internal?.turn) continue;
        openSince.delete(due.chat_id);
        if (isAnswer(failure)) result.settled += 1;
      } catch (error) {
        // A chat that was deleted meanwhile, or a bug, concerns this chat alone. Other errors are of the account or
        // database.
        if (error instanceof ApiError && error.code !== "CHAT_NOT_FOUND") throw error;
        countFailed(run, error);
        log.warn("A chat could not be swept", error);
      }
    }
  } catch (error) {
    if (tenantCauseOf(error)) openSince.clear(); // they wait for the tenant's account or database
    throw error;
  } finally {
    const ages = Array.from(openSince.values(), (at) => Math.round((Date.now() - at.getTime()) / 1_000));
    result.oldestOpenSeconds = Math.max(result.oldestOpenSeconds, ...ages);
  }
}

/** Without an active Retell account nothing can be done now, except to log open turns. */
async function postponeAll(tenant: TenantContext, dueChats: DueChat[]): Promise<void> {
  for (const due of dueChats) {
    if (due.tombstone?.why === "deleted") await removeTraces(tenant, due.chat_id);
    await schedule.claim(tenant, due, due.turn ? claimMs : inactiveAccountWaitMs);
    if (due.turn) logOpenTurn(tenant.log, due.chat_id, due.turn, new ApiError("RETELL_ACCOUNT_INACTIVE"));
  }
  tenant.log.warn("Chats are due, but there is no active Retell account");
}

async function sweepChat(context: ChatContext, id: ObjectId): Promise<Settled> {
  const { tenant } = context;
  const current = await chats.getOrThrow(tenant, context.chatId);
  if (isFinal(current) && isComplete(current) && !current.internal?.readAgain) {
    await indexAndReschedule(tenant, id, current, { sweepAt: undefined, refusedSince: undefined });
    return { chat: current, openTurn: undefined, failure: undefined };
  }
  const read = await settle(context, { signal: callSignal(), current });
  const settled = await retryEnd(context, read, { callSignal, answerSignal: callSignal });
  const { chat, openTurn, failure } = settled;
  const turn = chat.internal?.turn;
  if (turn && openTurn === "unknown") logOpenTurn(tenant.log, chat.chat_id, turn, failure);
  if (failure?.isAccountWide) throw failure;
  const isRefused = read.failure?.kind === "refused";
  // Only a read that succeeded shows that the chat exists at Retell.
  const isNotRead = chat.chat_status === "ongoing" && read.failure;
  const refusedSince = isNotRead ? (chat.internal?.refusedSince ?? (isRefused ? new Date() : undefined)) : undefined;
  if (isRefused && refusedSince && (await isDeletedAtRetell(context, chat, refusedSince))) {
    return closeDeleted(context, id);
  }
  const readAgain = chat.internal?.readAgain === true && !isAnswer(failure);
  await indexAndReschedule(tenant, id, chat, { sweepAt: nextSweepAt(chat, failure), refusedSince, readAgain });
  return settled;
}

/** Logged under the operationId of the send itself: its outcome is not known yet, and why. */
function logOpenTurn(log: RequestLog, chatId: string, turn: Turn, failure: ApiError | undefined): void {
  const openSeconds = turn.at instanceof Date ? Math.round((Date.now() - turn.at.getTime()) / 1_000) : undefined;
  const { operationId, id: turnId } = turn;
  log.warn("A turn is still open", failure, {
    operationId,
    chatId,
    turnId,
    openSeconds,
    settledBy: log.fields.operationId,
  });
}
