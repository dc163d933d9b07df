import type { StoredChat, StoredMessage } from "./model.ts";

/**
 * The chat with messages of the expected shape, whatever was stored: others write into the collection. An item that is
 * no message is replaced by a placeholder, so that the seq of those after it stays.
 */
export function withReadableMessages<Chat extends StoredChat>(chat: Chat): Chat {
  const found: unknown = chat.messages;
  return { ...chat, messages: Array.isArray(found) ? found.map(readableMessage) : [] };
}

function readableMessage(found: unknown): StoredMessage {
  const { role, content, message_id, created_timestamp, ...more } = Object(found);
  if (typeof role !== "string") return { role: "unreadable" };
  const isText = typeof content === "string";
  return {
    ...(typeof message_id === "string" ? { message_id } : {}),
    role,
    ...(content === undefined || content === null ? {} : { content: isText ? content : JSON.stringify(content) }),
    ...(typeof created_timestamp === "number" ? { created_timestamp } : {}),
    ...more,
  };
}
