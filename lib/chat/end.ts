import { type History, RetellError, retellFor } from "../retell/client.ts";
import type { Deadline } from "../route.ts";
import type { Tenant } from "../tenant.ts";
import type { ReadChat } from "./document.ts";
import { found, type Place, refuseLive, settle } from "./turns.ts";

/**
 * Ends a chat at Retell and stores how it finished. A chat that is over is left as it is.
 *
 * @throws CHAT_NOT_FOUND, CHAT_BUSY while a turn is running, CHAT_END_FAILED
 */
export async function end(tenant: Tenant, chatId: string, deadline: Deadline): Promise<ReadChat> {
  const chat = await found(tenant, chatId);
  if (chat.chat_status !== "ongoing" && !chat.internal?.turn) return chat;
  refuseLive(chat);

  const place = { tenant, chatId, retell: await retellFor(tenant), deadline };
  const { chat: ended } = await settle(place, await finalHistory(place));
  return ended;
}

/** Ends the chat and reads what became of it, since the call to end answers nothing. */
async function finalHistory({ tenant, chatId, retell, deadline }: Place): Promise<History> {
  const refusal = await retell.end(chatId, deadline.call()).then(() => undefined, asFailure);
  // Nothing was done, and reading would fail in the same way.
  if (refusal && ["account", "limited", "unsent"].includes(refusal.failure)) throw refusal;

  const history = await retell.retrieve(chatId, deadline.answer()).catch(asFailure);
  if (!(history instanceof RetellError)) {
    if (history.chat_status !== "ongoing") return history;
    if (refusal) throw refusal;
    return { ...history, chat_status: "ended" }; // Retell said 204: its reads lag
  }
  // It refuses to end the chat and has none to show: gone with its retention, or deleted there. It cannot go on.
  const isGone = refusal?.failure === "refused" && history.failure === "refused";
  if (refusal && !isGone) throw refusal;

  tenant.log.warn("An ended chat could not be read: our clock stands in", history);
  return { chat_id: chatId, agent_id: "", chat_status: "ended", end_timestamp: Date.now() };
}

function asFailure(error: unknown): RetellError {
  if (error instanceof RetellError) return error;
  throw error;
}
