import type { ErrorCode } from "../errors.ts";
import { asFailure, RetellError } from "../retell/client.ts";
import type { History } from "../retell/schema.ts";
import { isUser, type ReadChat, stored } from "./document.ts";
import { found, type Place } from "./place.ts";
import { chats } from "./store.ts";

/** The old server's chats have no `heard`, whatever else stands under `internal`. */
export const isAdopted = ({ internal }: ReadChat) => internal?.heard !== undefined;

/**
 * ADOPT: gives a chat of the old server, which kept only the last turn's messages, Retell's whole history.
 *
 * @throws RetellError of the given code when Retell does not answer
 */
export async function adopt(place: Place, code: ErrorCode, signal: AbortSignal, given?: History): Promise<void> {
  const { tenant, chatId, retell } = place;
  const history = given ?? (await retell.retrieve(chatId, signal).catch(asFailure));
  if (history instanceof RetellError && history.failure !== "refused") {
    throw new RetellError(code, history.failure, history);
  }
  const chat = await found(tenant, chatId);
  const theirs = history instanceof RetellError ? undefined : history.message_with_tool_calls;
  const entries = theirs && theirs.length >= chat.messages.length ? theirs : chat.messages;
  const messages = entries.map((entry) => stored(entry));
  await chats.adopt(tenant, chatId, messages, messages.filter(isUser).length);
}
