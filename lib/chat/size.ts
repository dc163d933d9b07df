import type { StoredChat, StoredMessage } from "./model.ts";

/** MongoDB takes documents of 16 MiB. This leaves room for what is written at a chat's end. */
const maxDocumentBytes = 15_728_640;

/** Whether a chat fits into its document with these messages. */
export function fitsDocument(chat: StoredChat, messages: StoredMessage[]): boolean {
  return bytesOf({ ...chat, messages }) <= maxDocumentBytes;
}

/** Bytes of a value as BSON. Some numbers are counted too high. */
function bytesOf(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value) + 5;
  if (typeof value !== "object" || value === null) return 8;
  if (value instanceof Date) return 8;
  return Object.entries(value).reduce((sum, [name, inside]) => sum + Buffer.byteLength(name) + 2 + bytesOf(inside), 5);
}
