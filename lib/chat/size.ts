import type { StoredChat, StoredMessage } from "./model.ts";

/** The size limits of a chat's document. MongoDB refuses documents over 16 MiB (16,777,216 bytes). */

/** A chat takes no new turn above this: 12 MiB, so that a reply of `maxReplyBytes` always fits. */
export const maxChatBytes = 12_582_912;

/** What one reply may take in a chat. */
export const maxReplyBytes = 3_500_000;

/** What a stored transcript may take beside the messages. A longer one is composed at each read. */
export const maxTranscriptBytes = 3_500_000;

/** A chat with its whole history: 15 MiB, which leaves room for what is written at the chat's end. */
const maxHistoryBytes = 15_728_640;

/** What entries that had to be shortened may fill a document to. */
export const maxShortenedBytes = 16_000_000;

/** Whether a chat fits into its document with these messages. */
export function fitsDocument(chat: StoredChat, messages: StoredMessage[]): boolean {
  return bytesOf({ ...chat, messages }) <= maxHistoryBytes;
}

/** Bytes of a value as BSON. Some numbers are counted too high. */
function bytesOf(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value) + 5;
  if (typeof value !== "object" || value === null) return 8;
  if (value instanceof Date) return 8;
  return Object.entries(value).reduce((sum, [name, inside]) => sum + Buffer.byteLength(name) + 2 + bytesOf(inside), 5);
}
