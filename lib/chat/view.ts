import type * as z from "zod";
import { isAgentOrUser, isUser, type StoredChat, type StoredMessage, seqAt } from "./model.ts";
import { ChatStatus, type ListedChat, type Message } from "./schema.ts";
import type { FoundChat } from "./store/chats.ts";

/** Messages as clients may see them, with seq and delivery, which are computed. */
export function visibleMessages(chat: Pick<StoredChat, "messages" | "internal">, withTools: boolean): Message[] {
  const isSuperseded = supersededIn(chat.messages);
  const shown: Message[] = [];
  for (const [index, message] of chat.messages.entries()) {
    const { internal, thought_signature: _hidden, message_id, role, content, created_timestamp, ...more } = message;
    if (!withTools && !isAgentOrUser(message)) continue;
    if (isSuperseded(message)) continue;
    const delivery = deliveryOf(chat, message);
    const seq = seqAt(index, chat.internal);
    shown.push({
      message_id,
      role,
      content,
      created_timestamp,
      ...more,
      seq,
      ...(delivery ? { delivery } : {}),
      ...(internal?.shortened ? { truncated: true as const } : {}),
    });
  }
  return shown;
}

/** Tells which failed messages are hidden: Retell had them after all, or they were sent again with the same key. */
function supersededIn(messages: StoredMessage[]): (message: StoredMessage) => boolean {
  const found = new Set(messages.map(({ internal }) => internal?.supersedes));
  found.delete(undefined);
  const sent = ({ internal }: StoredMessage) => internal?.key && `${internal.key} ${internal.hash}`;
  const lastSent = new Map(messages.map((message) => [sent(message), message]));
  return (message) => {
    const { failed, turn, key } = message.internal ?? {};
    return failed === true && (found.has(turn) || (key !== undefined && lastSent.get(sent(message)) !== message));
  };
}

/** The messages that a chat was created with. */
export function openingMessages(chat: Pick<StoredChat, "messages" | "internal">): Message[] {
  return visibleMessages(chat, false).filter(({ seq }) => seq > 0 && seq <= (chat.internal?.opening ?? 0));
}

function deliveryOf(
  { internal }: Pick<StoredChat, "internal">,
  message: StoredMessage,
): "pending" | "failed" | undefined {
  if (!isUser(message)) return undefined;
  if (message.internal?.failed) return "failed";
  return internal?.turn && internal.turn.id === message.internal?.turn ? "pending" : undefined;
}

/** What was said, in Retell's format: `Agent: …` and `User: …`, a line each. */
export function transcriptText(messages: StoredMessage[]): string {
  return messages
    .filter((message) => isAgentOrUser(message) && !message.internal?.failed)
    .map(({ role, content }) => `${role === "agent" ? "Agent" : "User"}: ${content ?? ""}\n`)
    .join("");
}

/** A chat as lists show it. A field of an unexpected type is null. */
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
  chat: Record<"chat_id" | "agent_id" | "chat_status" | "start_timestamp" | "end_timestamp", unknown> & {
    end_user_id?: unknown;
  },
) {
  const end_user_id = textOf(chat.end_user_id);
  return {
    chat_id: textOf(chat.chat_id),
    agent_id: textOf(chat.agent_id),
    chat_status: ChatStatus.safeParse(chat.chat_status).data ?? null,
    start_timestamp: numberOf(chat.start_timestamp),
    end_timestamp: numberOf(chat.end_timestamp),
    ...(end_user_id === null ? {} : { end_user_id }),
  };
}

/** The value if it is a plain object; undefined for anything else. */
export function plainObject<Stored extends object>(value: Stored | null | undefined): Stored | undefined {
  const isRecord = Object.prototype.toString.call(value) === "[object Object]" && !Object(value)._bsontype;
  return isRecord ? (value ?? undefined) : undefined;
}

const textOf = (value: unknown) => (typeof value === "string" ? value : null);

/** A date becomes its ms. The driver has objects for numbers that JavaScript does not have. */
function numberOf(value: unknown): number | null {
  const isNumber = value instanceof Date || typeof value === "number" || isNumeric(value);
  const number = isNumber ? Number(value) : Number.NaN;
  return Number.isFinite(number) ? number : null;
}

const isNumeric = (value: unknown) => ["Long", "Decimal128"].includes(Object(value)._bsontype);

/** Null for years that ISO 8601 does not write with four digits. */
function isoOf(ms: number | null): string | null {
  const date = new Date(ms ?? Number.NaN);
  const year = date.getUTCFullYear();
  return year >= 0 && year <= 9_999 ? date.toISOString() : null;
}
