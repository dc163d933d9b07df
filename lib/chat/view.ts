import type * as z from "zod";
import { ChatStatus, type ListedChat } from "./schema.ts";
import type { FoundChat } from "./store/chats.ts";

/** A chat as lists show it. A field that cannot be shown is null. */
export function toListedChat(chat: FoundChat): z.input<typeof ListedChat> {
  const shown = summaryOf(chat);
  const message_count = numberOf(chat.message_count);
  return {
    ...shown,
    message_count: Number.isSafeInteger(message_count) ? message_count : null,
    createdAt: isoOf(numberOf(chat.createdAt instanceof Date ? chat.createdAt : shown.start_timestamp)),
  };
}

/** What lists and transcripts show of a chat. */
export function summaryOf(
  chat: Record<"chat_id" | "agent_id" | "chat_status" | "start_timestamp" | "end_timestamp", unknown>,
) {
  return {
    chat_id: textOf(chat.chat_id),
    agent_id: textOf(chat.agent_id),
    chat_status: ChatStatus.safeParse(chat.chat_status).data ?? null,
    start_timestamp: numberOf(chat.start_timestamp),
    end_timestamp: numberOf(chat.end_timestamp),
  };
}

/** An object with names of its own choice; undefined for anything else. */
export function recordOf<Stored extends object>(value: Stored | null | undefined): Stored | undefined {
  const isRecord = Object.prototype.toString.call(value) === "[object Object]" && !Object(value)._bsontype;
  return isRecord ? (value ?? undefined) : undefined;
}

const textOf = (value: unknown) => (typeof value === "string" ? value : null);

/** Dates are their ms. The driver's numbers are objects where JavaScript has no such number. */
function numberOf(value: unknown): number | null {
  const isNumber = value instanceof Date || typeof value === "number" || isNumeric(value);
  const number = isNumber ? Number(value) : Number.NaN;
  return Number.isFinite(number) ? number : null;
}

const isNumeric = (value: unknown) => ["Long", "Decimal128"].includes(Object(value)._bsontype);

/** Null outside of the years that ISO writes with four digits. */
function isoOf(ms: number | null): string | null {
  const date = new Date(ms ?? Number.NaN);
  const year = date.getUTCFullYear();
  return year >= 0 && year <= 9_999 ? date.toISOString() : null;
}
