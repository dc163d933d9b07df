import { asFailure, RetellError, retellFor } from "../retell/client.ts";
import type { Deadline } from "../route.ts";
import type { Tenant } from "../tenant.ts";
import type { ReadChat } from "./document.ts";
import type { Final } from "./ending.ts";
import { found, type Place } from "./place.ts";
import { settle } from "./settle.ts";
import { refuseLive } from "./turns.ts";

/**
 * Ends a chat at Retell and stores how it finished. A chat that is over is left as it is.
 *
 * @throws CHAT_NOT_FOUND, CHAT_BUSY while a turn is running, CHAT_END_FAILED
 */
export async function end(tenant: Tenant, chatId: string, deadline: Deadline): Promise<ReadChat> {
  const seen = await found(tenant, chatId);
  if (seen.chat_status !== "ongoing") return seen; // a turn that is open yet is settled by the next reader
  refuseLive(seen);

  const place = { tenant, chatId, retell: await retellFor(tenant) };
  const given = await historyAfterEnd(place, deadline);
  const { chat } = await settle(place, { given, seen, signal: deadline.answer() });
  return chat;
}

/** Ends the chat and reads what became of it, since the call to end answers nothing. */
async function historyAfterEnd({ tenant, chatId, retell }: Place, deadline: Deadline): Promise<Final> {
  const refusal = await retell.end(chatId, deadline.call()).then(() => undefined, asFailure);
  // Nothing was done, and reading would fail in the same way.
  if (refusal && ["account", "limited", "unsent"].includes(refusal.failure)) throw refusal;

  const history = await retell.retrieve(chatId, deadline.answer()).catch(asFailure);
  if (!(history instanceof RetellError)) {
    if (history.chat_status !== "ongoing") return history;
    if (refusal) throw refusal;
    return { ...history, chat_status: "ended", isAssumed: true }; // Retell said 204: its reads lag
  }
  // It refuses to end the chat and has none to show: gone with its retention, or deleted there. It cannot go on.
  const isGone = refusal?.failure === "refused" && history.failure === "refused";
  if (refusal && !isGone) throw refusal;

  tenant.log.warn("An ended chat could not be read: our clock stands in", history);
  return { chat_id: chatId, agent_id: "", chat_status: "ended", end_timestamp: Date.now(), isAssumed: true };
}
