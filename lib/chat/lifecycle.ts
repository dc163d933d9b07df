import { ApiError } from "../errors.ts";
import { type History, type NewChat, type RetellClient, RetellError, retellFor } from "../retell/client.ts";
import type { Deadline } from "../route.ts";
import type { Tenant } from "../tenant.ts";
import type { ReadChat, StoredChat } from "./document.ts";
import { chats } from "./store.ts";
import { found, type Place, refuseLive, settle } from "./turns.ts";

/**
 * Creates a chat at Retell.
 *
 * @throws CHAT_CREATION_FAILED; TIMEOUT with `details.outcome: "unknown"` when it may exist all the same
 */
export async function create(retell: RetellClient, chat: NewChat, deadline: Deadline): Promise<History> {
  try {
    return await retell.create(chat, deadline.call());
  } catch (cause) {
    if (!(cause instanceof RetellError) || cause.failure !== "unknown") throw cause;
    throw new ApiError("TIMEOUT", {
      cause,
      message: "Retell has not answered in time; the chat may exist",
      details: { outcome: "unknown" },
    });
  }
}

/**
 * Stores a chat that Retell has just created. When that fails the chat is ended at Retell, so that nobody pays for a
 * chat that nobody can reach; if Mongo stored it after all, the next read finds it ended.
 *
 * @throws What the insert threw.
 */
export async function keep(tenant: Tenant, retell: RetellClient, chat: StoredChat, deadline: Deadline): Promise<void> {
  try {
    await chats.insert(tenant, chat);
  } catch (error) {
    await retell
      .end(chat.chat_id, deadline.answer())
      .catch((failure) =>
        tenant.log.error("A chat that was not stored could not be ended at Retell", failure, { chatId: chat.chat_id }),
      );
    throw error;
  }
}

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
