import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import { retellFor } from "../retell/client.ts";
import { asFailure, RetellError } from "../retell/errors.ts";
import type { ChatContext } from "./context.ts";
import type { Final } from "./ending.ts";
import { isUser, type ReadChat } from "./model.ts";
import { refuseLive } from "./outcome.ts";
import { type Settled, settle } from "./settle.ts";
import * as chats from "./store/chats.ts";
import * as settling from "./store/settling.ts";

/** Signals that bound the end itself and the read after it. */
type Bounds = Pick<Deadline, "call" | "answer">;

/**
 * Ends a chat at Retell and stores how it finished. A chat that is over is left as it is. If Retell does not end it, the
 * sweep tries again.
 *
 * @throws CHAT_NOT_FOUND, CHAT_BUSY while a turn is running, CHAT_END_FAILED
 */
export async function end(tenant: TenantContext, chatId: string, deadline: Deadline): Promise<ReadChat> {
  const seen = await chats.getOrThrow(tenant, chatId);
  if (seen.chat_status !== "ongoing") return seen; // a turn that is open yet is settled by the next reader
  refuseLive(seen);

  const place = { tenant, chatId, retell: await retellFor(tenant) };
  const given = await historyAfterEnd(place, deadline).catch(asFailure);
  if (given instanceof RetellError) {
    await settling
      .noteFailedEnd(tenant, chatId)
      .catch((error) => tenant.log.warn("The failed end was not noted", error));
    throw given;
  }
  const { chat } = await settle(place, { given, seen, signal: deadline.answer() });
  return chat;
}

/** Whether an end was asked for and failed, and no user has spoken since. */
export function isEndDue({ chat_status, internal, messages }: ReadChat): boolean {
  const asked = internal?.endAsked;
  if (chat_status !== "ongoing" || !(asked instanceof Date)) return false;
  return (messages.findLast(isUser)?.created_timestamp ?? 0) <= asked.getTime();
}

/** Ends a chat whose end was asked for and failed. For the sweep, which has just settled it. */
export async function endAgain(place: ChatContext, settled: Settled, bounds: Bounds): Promise<Settled> {
  if (settled.open === "live" || !isEndDue(settled.chat)) return settled;
  const given = await historyAfterEnd(place, bounds).catch(asFailure);
  if (given instanceof RetellError) return { ...settled, failure: given };
  return settle(place, { given, signal: bounds.answer() });
}

/** Ends the chat and reads what became of it, since the call to end answers nothing. */
async function historyAfterEnd({ tenant, chatId, retell }: ChatContext, bounds: Bounds): Promise<Final> {
  const refusal = await retell.end(chatId, bounds.call()).then(() => undefined, asFailure);
  // Nothing was done, and reading would fail in the same way.
  if (refusal && ["account", "limited", "unsent"].includes(refusal.failure)) throw refusal;

  const history = await retell.retrieve(chatId, bounds.answer()).catch(asFailure);
  if (!(history instanceof RetellError)) {
    if (history.chat_status !== "ongoing") return history;
    if (refusal) throw refusal;
    return { ...history, chat_status: "ended", isAssumed: true }; // Retell said 204: its reads lag
  }
  // Two refusals are no end: with a key of another workspace Retell refuses both, and the chat goes on.
  if (refusal) throw refusal;

  tenant.log.warn("An ended chat could not be read: our clock stands in", history);
  return { chat_id: chatId, agent_id: "", chat_status: "ended", end_timestamp: Date.now(), isAssumed: true };
}
