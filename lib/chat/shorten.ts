import type { StoredMessage } from "./document.ts";

/** Fields that identify an entry: they are never shortened. */
const identity = new Set(["message_id", "role", "tool_call_id", "internal"]);
const shortest = 64;

/**
 * What one reply may take in a chat. A chat takes no new turn above 12 MiB and MongoDB refuses documents above 16 MiB,
 * so a reply of this size always fits.
 */
export const maxReplyBytes = 3_500_000;

/**
 * Entries that take a number of bytes at most: the longest fields are cut until all fit. A shortened entry is marked, so
 * that clients are told and so that Retell's text does not replace it again.
 *
 * @param budget Bytes of JSON, which is about what BSON takes.
 */
export function shorten(messages: StoredMessage[], budget: number): StoredMessage[] {
  if (isSmall(messages, budget)) return messages;
  let fitting = messages;
  for (let most = budget; sizeOf(fitting) > budget && most > shortest; most = Math.floor(most / 2)) {
    fitting = messages.map((message) => cut(message, most));
  }
  return fitting;
}

function cut(message: StoredMessage, most: number): StoredMessage {
  let isCut = false;
  const fields = Object.entries(message).map(([name, value]) => {
    if (identity.has(name)) return [name, value];
    if (typeof value === "string") {
      const text = Buffer.byteLength(value) <= most ? value : value.slice(0, most / 4).toWellFormed();
      isCut ||= text !== value;
      return [name, text];
    }
    const isLarge = typeof value === "object" && Buffer.byteLength(JSON.stringify(value)) > most;
    isCut ||= isLarge;
    return [name, isLarge ? null : value];
  });
  if (!isCut) return message;
  return { ...(Object.fromEntries(fields) as StoredMessage), internal: { ...message.internal, shortened: true } };
}

const sizeOf = (messages: StoredMessage[]) => Buffer.byteLength(JSON.stringify(messages));

/** Whether they fit by any count: the common case, in which nothing is serialised. A character may take six bytes. */
function isSmall(messages: StoredMessage[], budget: number): boolean {
  let bytes = 0;
  for (const message of messages) {
    for (const [name, value] of Object.entries(message)) {
      if (typeof value === "object" && name !== "internal") return false;
      bytes += 200 + String(value).length * 6;
    }
  }
  return bytes <= budget;
}
