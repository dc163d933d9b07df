import type { RetellError } from "../../retell/errors.ts";
import { isEndDue } from "../end.ts";
import { type ChatSnapshot, isComplete, type Turn } from "../model.ts";
import {
  detailsWaitsMs,
  failedReadUntilMs,
  failedReadWaitMs,
  leaseMs,
  maxSilentWaitMs,
  oldTurnWaitMs,
  openTurnWaits,
  silentChatMs,
} from "../timing.ts";

/** Whether Retell has answered. `refused` is an answer: Retell does not know the chat. */
export const isAnswer = (failure: RetellError | undefined) => !failure || failure.kind === "refused";

/**
 * When a chat is due again; undefined when nothing more is expected of it. The waits grow with the age of what is
 * waited for, so that no counter is needed. A date that is missing, or that somebody else wrote as text, counts as long
 * ago.
 *
 * @param failure Why Retell could not be asked now. It is asked again soon, as the chat may have ended meanwhile; for a
 *                week, in case this chat can never be read. The same holds where an end was asked for and failed.
 */
export function nextSweepAt(chat: ChatSnapshot, failure?: RetellError): Date | undefined {
  const now = chat.now.getTime();
  const since = (...dates: unknown[]) => {
    const date = dates.find((one) => one instanceof Date);
    return date ? now - date.getTime() : Number.POSITIVE_INFINITY;
  };
  const turn = chat.internal?.turn;
  if (turn) return new Date(now + turnWaitMs(turn, since(turn.at)));
  const isOngoing = chat.chat_status === "ongoing";
  const age = isOngoing ? since(chat.lastMessageAt, chat.updatedAt) : since(chat.endedAt, chat.updatedAt);
  if ((!isAnswer(failure) || isEndDue(chat)) && age < failedReadUntilMs) return new Date(now + failedReadWaitMs);
  if (isOngoing) return new Date(now + Math.min(maxSilentWaitMs, Math.max(silentChatMs, age)));
  if (isComplete(chat)) return undefined;
  const wait = detailsWaitsMs.find((step) => age < step);
  return wait === undefined ? undefined : new Date(now + wait);
}

function turnWaitMs({ state }: Turn, age: number): number {
  if (state === "sending" && age < leaseMs()) return leaseMs() - age;
  return openTurnWaits.find(({ untilMs }) => age < untilMs)?.waitMs ?? oldTurnWaitMs;
}
