import type { RetellMessage } from "../retell/schema.ts";
import type { IdempotencyKey, StoredMessage } from "./model.ts";

/** An entry of Retell as it is stored: it keeps its id, or gets one of ours. */
export function toStoredMessage(entry: RetellMessage, turn?: string): StoredMessage {
  // Always set: a message without it is the old server's.
  const internal = { ...(turn ? { turn } : {}), ...(entry.message_id ? {} : { hasLocalId: true as const }) };
  const { content } = entry;
  return {
    ...entry,
    // MongoDB stores half of a surrogate pair as another character.
    ...(content === undefined ? {} : { content: content.toWellFormed() }),
    message_id: entry.message_id ?? newMessageId(),
    created_timestamp: entry.created_timestamp ?? Date.now(),
    internal,
  };
}

/** What a client sends. */
export interface ClientMessage {
  content: string;
  client_message_id?: string | null | undefined;
}

/** A user's message as it is stored, before it is sent to Retell. */
export function userMessage(
  { content, client_message_id }: ClientMessage,
  turnId: string,
  idempotency: IdempotencyKey | undefined,
): StoredMessage & { message_id: string } {
  return {
    message_id: newMessageId(),
    role: "user",
    content,
    created_timestamp: Date.now(),
    ...(typeof client_message_id === "string" ? { client_message_id } : {}),
    internal: {
      turn: turnId,
      hasLocalId: true,
      ...(idempotency ? { key: idempotency.id, hash: idempotency.hash } : {}),
    },
  };
}

export const newMessageId = () => `msg_${crypto.randomUUID()}`;
