import type { Document } from "mongodb";
import * as z from "zod";
import { idempotencyOf } from "../../lib/idempotency.ts";
import { reservedKey } from "../../lib/retell/client.ts";
import { routes } from "../../lib/routes.ts";
import { Chat } from "../retell/schema.ts";
import { type Accepted, commonText, type Ledger } from "./ledger.ts";

/** What is there at the end of a run, on both sides. */
export interface Found {
  subaccountId: string;
  userId: string;
  /** The chats collection. */
  documents: Document[];
  /** The simulator's chats, as it holds them. */
  held: Chat[];
}

export const Held = z.object({ chats: z.array(Chat) });

interface Message {
  message_id: string;
  role: string;
  content?: string;
  internal?: { key?: string; turn?: string; failed?: true };
}

/** Holds what is stored against what the simulator holds and against what clients were told. */
export function check(ledger: Ledger, found: Found): void {
  const documents = new Map(found.documents.map((document) => [String(document.chat_id), document]));
  const held = new Map(found.held.map((chat) => [chat.chat_id, chat]));

  for (const [chatId, document] of documents) {
    const chat = held.get(chatId);
    if (!chat) ledger.breaks("lost", `${chatId} is not at Retell`);
    else checkChat(ledger, found, document, chat);
  }
  for (const { chatId, key } of ledger.accepted) {
    if (!documents.has(chatId)) ledger.breaks("lost", `${key}: ${chatId} is not stored`);
  }
  checkCreates(ledger, documents, found.held);
}

function checkChat(ledger: Ledger, found: Found, document: Document, chat: Chat): void {
  const { chat_id: chatId } = chat;
  const all: Message[] = document.messages;
  const delivered = all.filter(({ internal }) => !internal?.failed);
  if (document.internal.turn) ledger.breaks("stuck", `${chatId}: turn ${document.internal.turn.id} is open`);
  if (document.chat_status !== chat.status) {
    ledger.breaks("told otherwise", `${chatId} is ${document.chat_status}, at Retell ${chat.status}`);
  }
  const counted = delivered.filter(({ role }) => role === "agent" || role === "user").length;
  if (document.message_count !== counted) {
    ledger.breaks("told otherwise", `${chatId}: message_count ${document.message_count}, there are ${counted}`);
  }

  compare(ledger, chatId, delivered.map(lineOf), chat.entries.map(lineOf));

  // The k-th user's message that was delivered is the k-th user's entry: that is how equal texts are told apart.
  const users = delivered.filter(({ role }) => role === "user");
  const entries = chat.entries.filter(({ role }) => role === "user");
  const timesByKey = new Map<string, number>();
  for (const [index] of entries.entries()) {
    const id = users[index]?.internal?.key;
    if (id) timesByKey.set(id, (timesByKey.get(id) ?? 0) + 1);
    else ledger.breaks("doubled", `${chatId}: user entry ${index + 1} is under no key (${lineOf(entries[index])})`);
  }
  const times = ({ key }: { key: string }) => timesByKey.get(idOf(found, chatId, key)) ?? 0;
  const timesByText = countBy(entries, ({ content }) => content ?? "");
  const isOfOne = (content: string) => content !== commonText;

  for (const one of [...ledger.accepted, ...ledger.refused, ...ledger.unanswered].filter((o) => o.chatId === chatId)) {
    const what = `${one.key} in ${chatId}: ${times(one)} times by key, ${timesByText.get(one.content) ?? 0} by text`;
    if (times(one) > 1) ledger.breaks("doubled under one key", what);
    if (isOfOne(one.content) && (timesByText.get(one.content) ?? 0) > 1) ledger.breaks("doubled", what);
  }
  for (const one of ledger.accepted.filter((accepted) => accepted.chatId === chatId)) {
    if (times(one) === 0 || (isOfOne(one.content) && !timesByText.has(one.content))) {
      ledger.breaks("lost", `${one.key} in ${chatId} was accepted as ${one.seq} and is not there`);
    }
    checkTold(ledger, document, all, users, one);
  }
  for (const one of ledger.refused.filter((refused) => refused.chatId === chatId)) {
    if (times(one) > 0 || (isOfOne(one.content) && timesByText.has(one.content))) {
      ledger.breaks("refused, yet delivered", `${one.key} in ${chatId}`);
    }
  }
  checkOrder(ledger, chatId);
}

/** What a client was told with its 200 is what is stored, where it was told. */
function checkTold(ledger: Ledger, document: Document, all: Message[], users: Message[], told: Accepted): void {
  const base = document.internal.base ?? 0;
  const at = (seq: number) => all[seq - 1 + base];
  const what = `${told.key} in ${told.chatId}`;
  const own = at(told.seq);
  if (own?.message_id !== told.messageId || own.content !== told.content || own.internal?.failed) {
    ledger.breaks("told otherwise", `${what}: told as ${told.seq}, where ${JSON.stringify(own)} is`);
    return;
  }
  for (const reply of told.replies) {
    const message = at(reply.seq);
    if (message?.message_id !== reply.message_id || message.content !== reply.content) {
      ledger.breaks("told otherwise", `${what}: reply ${reply.seq} is ${JSON.stringify(message)}`);
    }
    // The simulator's echo says which of the user's messages it answers.
    const answered = /^You said: .* \(message (\d+)\)$/.exec(reply.content ?? "")?.[1];
    if (answered !== undefined && users[Number(answered) - 1] !== own) {
      ledger.breaks("told otherwise", `${what}: was given the answer to message ${answered}`);
    }
  }
}

/** A client that has been told of one message before it sent the next finds them in that order. */
function checkOrder(ledger: Ledger, chatId: string): void {
  const last = new Map<number, number>();
  for (const { client, key, seq } of ledger.accepted.filter((accepted) => accepted.chatId === chatId)) {
    if (seq <= (last.get(client) ?? 0)) ledger.breaks("out of order", `${key} in ${chatId}: ${seq}`);
    last.set(client, seq);
  }
}

function compare(ledger: Ledger, chatId: string, ours: string[], theirs: string[]): void {
  const first = Array.from({ length: Math.max(ours.length, theirs.length) }).findIndex((_, i) => ours[i] !== theirs[i]);
  if (first < 0) return;
  const where = `${chatId}: from entry ${first + 1} on we have [${ours.slice(first, first + 4).join(" | ")}], Retell [${theirs
    .slice(first, first + 4)
    .join(" | ")}]`;
  const [mine, yours] = [countBy(ours, String), countBy(theirs, String)];
  const lacking = theirs.some((line) => (mine.get(line) ?? 0) < (yours.get(line) ?? 0));
  const extra = ours.some((line) => (mine.get(line) ?? 0) > (yours.get(line) ?? 0));
  ledger.breaks(lacking ? "lost" : extra ? "doubled" : "out of order", where);
}

function checkCreates(ledger: Ledger, documents: Map<string, Document>, held: Chat[]): void {
  const Ours = z.object({ [reservedKey]: z.object({ request: z.string() }) });
  const alive = new Map<string, string[]>();
  for (const chat of held) {
    const request = Ours.safeParse(chat.metadata).data?.[reservedKey].request;
    if (request === undefined) continue;
    if (chat.status === "ongoing" && !documents.has(chat.chat_id)) ledger.breaks("orphans", chat.chat_id);
    const isUsed = chat.status === "ongoing" || chat.entries.some(({ role }) => role === "user");
    if (isUsed) alive.set(request, [...(alive.get(request) ?? []), chat.chat_id]);
  }
  for (const [request, chats] of alive) {
    if (chats.length > 1) ledger.breaks("doubled under one key", `create ${request}: ${chats.join(", ")}`);
  }
}

/** What a key stands for in the data. */
function idOf({ subaccountId, userId }: Found, chatId: string, key: string): string {
  const progress = { actor: { id: userId }, params: { subaccountId, chatId }, body: {}, key };
  return idempotencyOf(routes.message, progress as never)?.id ?? "";
}

/** An entry by role and content; what has no content by its other fields that say what it is. */
function lineOf(entry: { role: string; content?: string | undefined } | undefined): string {
  const { role, content, tool_call_id } = { tool_call_id: undefined, role: "", content: undefined, ...entry };
  return `${role}: ${content ?? ""}${tool_call_id === undefined ? "" : ` (${tool_call_id})`}`;
}

function countBy<T>(items: T[], name: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(name(item), (counts.get(name(item)) ?? 0) + 1);
  return counts;
}
