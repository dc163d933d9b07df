import type { StoredMessage } from "./model.ts";
import type { Message } from "./schema.ts";

/** Fields that identify an entry. They are never cut. */
const identity = new Set(["message_id", "role", "tool_call_id", "internal"]);
/** No field is cut to less than a quarter of this. */
const shortest = 256;

/**
 * Shortens entries until they fit into a number of bytes: the longest fields are cut first. A shortened entry is
 * marked, so that clients are told, and so that Retell's text does not replace it again.
 *
 * @param budget Bytes of JSON, which is about what BSON takes.
 */
export function shortenStored(messages: StoredMessage[], budget: number): StoredMessage[] {
  return cutTo(messages, budget, jsonBytes, (message) => ({
    ...message,
    internal: { ...message.internal, shortened: true },
  }));
}

/** The same for an answer, whose size the caller measures. */
export function shortenMessages(
  messages: Message[],
  budget: number,
  sizeOf: (messages: Message[]) => number,
): Message[] {
  return cutTo(messages, budget, sizeOf, (message) => ({ ...message, truncated: true }));
}

function cutTo<T extends object>(
  messages: T[],
  budget: number,
  sizeOf: (messages: T[]) => number,
  mark: (message: T) => T,
): T[] {
  if (isSmall(messages, budget)) return messages;
  let fitting = messages;
  for (let most = budget; sizeOf(fitting) > budget && most > shortest; most = Math.floor(most / 2)) {
    fitting = messages.map((message) => cut(message, most, mark));
  }
  return fitting;
}

function cut<T extends object>(message: T, most: number, mark: (message: T) => T): T {
  const changed = { ...message };
  let isCut = false;
  for (const [name, value] of Object.entries(message)) {
    if (identity.has(name) || value === null || !["string", "object"].includes(typeof value)) continue;
    if (Buffer.byteLength(typeof value === "string" ? value : JSON.stringify(value)) <= most) continue;
    isCut = true;
    // A character takes four bytes at most.
    Object.assign(changed, { [name]: typeof value === "string" ? value.slice(0, most / 4).toWellFormed() : null });
  }
  return isCut ? mark(changed) : message;
}

const jsonBytes = (value: unknown) => Buffer.byteLength(JSON.stringify(value));

/**
 * Whether they fit however bytes are counted: the common case, which costs no serialising. A character may take 24
 * bytes.
 */
function isSmall(messages: object[], budget: number): boolean {
  let bytes = 0;
  for (const message of messages) {
    for (const [name, value] of Object.entries(message)) {
      if (typeof value === "object" && name !== "internal") return false;
      bytes += 200 + String(value).length * 24;
    }
  }
  return bytes <= budget;
}
