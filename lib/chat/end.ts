import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import { retellFor } from "../retell/client.ts";
import { asFailure, RetellError } from "../retell/errors.ts";
import type { ChatContext } from "./context.ts";
import type { FinalHistory } from "./ending.ts";
import { type ChatSnapshot, isUser } from "./model.ts";
import { refuseLiveTurn } from "./outcome.ts";
import { type Settled, settle } from "./settle.ts";
import * as chats from "./store/chats.ts";
import * as endings from "./store/endings.ts";

/** Signals that bound the end itself and the read after it. */
type EndSignals = Pick<Deadline, "callSignal" | "answerSignal">;

/**
 * Ends a chat at Retell and stores how it finished. A chat that is over is left as it is. If Retell does not end it,
 * the sweep tries again.
 *
 * @throws CHAT_NOT_FOUND, CHAT_BUSY while a turn is running, CHAT_END_FAILED
 */
export async function end(tenant: TenantContext, chatId: string, deadline: Deadline): Promise<ChatSnapshot> {
  const current = await chats.getOrThrow(tenant, chatId);
  if (current.chat_status !== "ongoing") return current; // the next reader settles a turn that is still open
  refuseLiveTurn(current);

  const context = { tenant, chatId, retell: await retellFor(tenant) };
  const history = await endAndRead(context, deadline).catch(asFailure);
  if (history instanceof RetellError) {
    await endings
      .noteFailedEnd(tenant, chatId)
      .catch((error) => tenant.log.warn("The failed end was not noted", error));
    throw history;
  }
  const { chat } = await settle(context, { history, current, signal: deadline.answerSignal() });
  return chat;
}

/** Whether an end was asked for and failed, and no user has spoken since. */
export function isEndDue({ chat_status, internal, messages }: ChatSnapshot): boolean {
  const requestedAt = internal?.endRequestedAt;
  if (chat_status !== "ongoing" || !(requestedAt instanceof Date)) return false;
  return (messages.findLast(isUser)?.created_timestamp ?? 0) <= requestedAt.getTime();
}

/** Ends a chat whose end was asked for and failed. For the sweep, which has just settled it. */
export async function retryEnd(context: ChatContext, settled: Settled, signals: EndSignals): Promise<Settled> {
  if (settled.openTurn === "live" || !isEndDue(settled.chat)) return settled;
  const history = await endAndRead(context, signals).catch(asFailure);
  if (history instanceof RetellError) return { ...settled, failure: history };
  return settle(context, { history, signal: signals.answerSignal() });
}

/**
 * Ends a chat at Retell whose document is not needed any more.
 *
 * @returns Why it may still go on there; undefined when it is over.
 */
export async function endAtRetell(
  { chatId, retell }: ChatContext,
  signal: () => AbortSignal,
): Promise<RetellError | undefined> {
  const refusal = await retell.end(chatId, signal()).then(() => undefined, asFailure);
  if (refusal?.kind !== "refused") return refusal;
  // It is over already, or cannot be ended: a read tells.
  const read = await retell.retrieve(chatId, signal()).catch(asFailure);
  if (read instanceof RetellError) return read;
  return read.chat_status === "ongoing" ? refusal : undefined;
}

/** Ends the chat at Retell, then reads how it ended: Retell answers an end without a body. */
async function endAndRead({ tenant, chatId, retell }: ChatContext, signals: EndSignals): Promise<FinalHistory> {
  const refusal = await retell.end(chatId, signals.callSignal()).then(() => undefined, asFailure);
  // Nothing was done, and a read would fail in the same way.
  if (refusal && ["account", "limited", "unsent"].includes(refusal.kind)) throw refusal;

  const history = await retell.retrieve(chatId, signals.answerSignal()).catch(asFailure);
  if (!(history instanceof RetellError)) {
    if (history.chat_status !== "ongoing") return history;
    if (refusal) throw refusal;
    return { ...history, chat_status: "ended", isAssumed: true }; // Retell answered 204: its reads lag
  }
  // Two refusals are no end: with a key of another workspace Retell refuses both, and the chat goes on.
  if (refusal) throw refusal;

  tenant.log.warn("An ended chat could not be read: our clock stands in", history);
  return { chat_id: chatId, agent_id: "", chat_status: "ended", end_timestamp: Date.now(), isAssumed: true };
}
