import type { Document } from "mongodb";
import * as z from "zod";
import { idempotencyOf } from "../../lib/api/idempotency.ts";
import { routes } from "../../lib/api/routes.ts";
import { reservedKey } from "../../lib/retell/client.ts";
import { Chat, type Entry } from "../../packages/retell-simulator/src/schema.ts";
import type { Accepted, Excuse, Ledger, Sent } from "./ledger.ts";
import { guardedAgent, guardedWord, normal } from "./texts.ts";

/** The chats at the end of a run, in our database and at Retell. */
export interface Found {
  subaccountId: string;
  userId: string;
  /** The chats of all stages. */
  documents: Document[];
  /** The simulator's chats, as it holds them: the truth. */
  held: Chat[];
}

export const Held = z.object({ chats: z.array(Chat) });

interface Message {
  message_id: string;
  role: string;
  content?: string;
  tool_call_id?: string;
  internal?: { key?: string; turn?: string; failed?: true };
}

/** An entry of Retell's, and its place. */
interface Placed {
  entry: Entry;
  place: number;
  /** The send that it belongs to, or that it answers. */
  sent: Sent | undefined;
}

/** One chat as we store it and as Retell has it, with the sender of each entry. */
interface Here {
  ledger: Ledger;
  chatId: string;
  document: Document;
  all: Message[];
  chat: Chat;
  entries: Placed[];
  /** By the message_id of the user's entry that they answer. */
  replies: Map<string, Placed[]>;
  /** Which of our messages is which entry. */
  matches: Map<Placed, Message>;
  idOf: (sent: Sent) => string;
}

/** Compares what is stored with what the simulator knows and with what clients were answered. */
export function check(ledger: Ledger, found: Found): void {
  // A tombstone is not a chat.
  const stored = found.documents.filter(({ internal }) => !internal?.tombstone);
  const documents = new Map(stored.map((document) => [String(document.chat_id), document]));
  const held = new Map(found.held.map((chat) => [chat.chat_id, chat]));
  if (documents.size < stored.length) ledger.breaks("doubled", "a chat is stored in two stages");

  const byChat = Map.groupBy(sendsOf(ledger), ({ chatId }) => chatId);
  for (const [chatId, document] of documents) {
    const chat = held.get(chatId);
    if (chat) checkChat(hereOf(ledger, found, document, chat, byChat.get(chatId) ?? []));
    else ledger.breaks("lost", `${chatId} is not at Retell`);
  }
  for (const { chatId, key } of ledger.accepted) {
    if (!documents.has(chatId)) ledger.breaks("lost", `${key}: ${chatId} is not stored`);
  }
  for (const [key, chatId] of ledger.created) {
    if (!documents.has(chatId)) ledger.breaks("lost", `create ${key}: ${chatId} is not stored`);
  }
  checkCreates(ledger, documents, found.held);
}

function hereOf(ledger: Ledger, found: Found, document: Document, chat: Chat, sends: Sent[]): Here {
  const byContent = new Map(sends.map((sent) => [sent.content, sent]));
  const said = new Map(chat.entries.map(({ message_id, truth }) => [message_id, truth?.said ?? ""]));
  const sentBy = ({ message_id, truth }: Entry) => byContent.get(said.get(truth?.answers ?? message_id) ?? "");
  const entries = chat.entries.map((entry, place) => ({ entry, place, sent: sentBy(entry) }));
  return {
    ledger,
    chatId: chat.chat_id,
    document,
    all: document.messages,
    chat,
    entries,
    replies: Map.groupBy(
      entries.filter(({ entry }) => entry.truth?.answers !== undefined),
      ({ entry }) => String(entry.truth?.answers),
    ),
    matches: new Map(),
    idOf: (sent) => idOf(found, sent.chatId, sent.key),
  };
}

function checkChat(here: Here): void {
  const { ledger, chatId, document, all, chat, entries } = here;
  const delivered = all.filter(({ internal }) => !internal?.failed);
  if (document.internal?.turn) ledger.breaks("stuck", `${chatId}: turn ${document.internal.turn.id} is open`);
  if (document.chat_status !== chat.status) {
    ledger.breaks("told otherwise", `${chatId} is ${document.chat_status}, at Retell ${chat.status}`);
  }
  const counted = delivered.filter(({ role }) => role === "agent" || role === "user").length;
  if (document.internal && document.message_count !== counted) {
    ledger.breaks("told otherwise", `${chatId}: message_count ${document.message_count}, there are ${counted}`);
  }

  match(here, delivered);
  checkEntries(here, delivered);
  const times = Map.groupBy(
    entries.filter(({ sent, entry }) => sent && entry.role === "user"),
    ({ sent }) => sent?.key,
  );
  const timesOf = ({ key }: Sent) => times.get(key) ?? [];
  for (const sent of sendsOf(ledger).filter((s) => s.chatId === chatId)) {
    const found = timesOf(sent).length;
    if (found > 1) {
      ledger.breaks("doubled under one key", `${sent.key} in ${chatId}: ${found} times`, excuseOf(here, sent));
    }
  }
  for (const sent of ledger.refused.filter((refused) => refused.chatId === chatId)) {
    if (timesOf(sent).length > 0) {
      ledger.breaks("refused, yet delivered", `${sent.key} in ${chatId}`, excuseOf(here, sent));
    }
  }
  for (const sent of ledger.undecided.filter((one) => one.chatId === chatId)) {
    // Whatever else happened to it, only what leaves a send undecided excuses this.
    const excuse = isUndecided(here, sent) ? "undecided" : undefined;
    ledger.breaks("stuck", `${sent.key} in ${chatId} stays undecided`, excuse);
  }
  for (const accepted of ledger.accepted.filter((one) => one.chatId === chatId)) {
    const [own] = timesOf(accepted);
    if (own) checkTold(here, accepted, own);
    else {
      const what = `${accepted.key} in ${chatId} was accepted as ${accepted.told.user_message.seq}; Retell never had it`;
      ledger.breaks("misattributed", what, excuseOf(here, accepted));
    }
  }
  checkOrder(here, delivered);
}

/** Which of our messages is which entry of Retell's: by key or id, else by role and text, each once. */
function match(here: Here, delivered: Message[]): void {
  const { matches } = here;
  const left = new Set(delivered);
  const take = (isIt: (message: Message, one: Placed) => boolean) => {
    for (const one of here.entries) {
      if (matches.has(one)) continue;
      for (const message of left) {
        if (message.role !== one.entry.role || !isIt(message, one)) continue;
        matches.set(one, message);
        left.delete(message);
        break;
      }
    }
  };
  take((message, { entry, sent }) =>
    entry.role === "user"
      ? sent !== undefined && message.internal?.key === here.idOf(sent)
      : message.message_id === entry.message_id,
  );
  take((message, { entry }) => message.message_id === entry.message_id);
  take((message, { entry }) => !message.internal?.key && isSame(message, entry));
  take((message, { entry }) => isSame(message, entry));
}

function isSame(message: Message, entry: Entry): boolean {
  const said = [entry.content, entry.truth?.said].filter((text) => text !== undefined).map(normal);
  const isSameText =
    said.length === 0 ? (message.content ?? undefined) === undefined : said.includes(normal(message.content));
  return isSameText && message.tool_call_id === entry.tool_call_id;
}

function checkEntries(here: Here, delivered: Message[]): void {
  const { ledger, chatId, entries, matches } = here;
  for (const one of entries) {
    const { entry, sent, place } = one;
    const message = matches.get(one);
    const what = `${chatId}: entry ${place + 1} of ${entries.length} (${lineOf(entry)})`;
    if (!message) {
      ledger.breaks("lost", `${what} is not here`, sent ? excuseOf(here, sent) : excuseOfStranger(here, one));
      continue;
    }
    if (entry.role !== "user" && !isSame(message, entry)) {
      ledger.breaks("lost", `${what} is ${JSON.stringify(message.content)} here`);
    }
    if (entry.role === "user" && sent && message.internal?.key !== here.idOf(sent)) {
      ledger.breaks("misattributed", `${what} is of ${sent.key}, and under another key or none`, excuseOf(here, sent));
    }
    if (entry.truth?.isStrangers && message.internal?.key) {
      const taken = sentUnder(here, message.internal.key);
      ledger.breaks(
        "misattributed",
        `${what} is a stranger's, and stands for ${taken?.key}`,
        taken && excuseOf(here, taken),
      );
    }
  }
  const known = new Set(matches.values());
  for (const message of delivered.filter((one) => !known.has(one))) {
    const taken = message.internal?.key ? sentUnder(here, message.internal.key) : undefined;
    // A send that Retell never had is counted where its answer is checked.
    if (taken && ledger.accepted.some(({ key }) => key === taken.key)) continue;
    ledger.breaks("doubled", `${chatId}: Retell has no such ${lineOf(message)}`, taken && excuseOf(here, taken));
  }
}

const sendsOf = ({ accepted, refused, unanswered, undecided }: Ledger): Sent[] => [
  ...accepted,
  ...refused,
  ...unanswered,
  ...undecided,
];

function sentUnder({ ledger, chatId, idOf }: Here, id: string): Sent | undefined {
  const all = sendsOf(ledger);
  return all.find((sent) => sent.chatId === chatId && idOf(sent) === id);
}

/** Each 200 equals what is stored, at the same place, and is the reply to the client's own message. */
function checkTold(here: Here, accepted: Accepted, own: Placed): void {
  const { ledger, all, document, replies, entries } = here;
  const { told, content, chatId } = accepted;
  const excuse = excuseOf(here, accepted);
  const base = document.internal?.prependedCount ?? 0;
  const at = (seq: number) => all[seq - 1 + base];
  const what = `${accepted.key} in ${chatId}`;
  const { message_id, seq } = told.user_message;
  const stored = at(seq);
  if (stored?.message_id !== message_id || stored.content !== content || stored.internal?.failed) {
    ledger.breaks("told otherwise", `${what}: told as ${seq}, where ${JSON.stringify(stored)} is`, excuse);
    return;
  }
  const theirs = replies.get(own.entry.message_id ?? "") ?? [];
  const wanted = theirs.filter(({ entry }) => entry.role === "agent");
  const isMingled = isInterrupted(here, own, theirs);
  const why = isMingled ? "a stranger in the middle of a turn" : excuse;
  for (const reply of told.messages) {
    const message = at(reply.seq);
    if (message?.message_id !== reply.message_id || !message?.content?.startsWith(reply.content ?? "")) {
      ledger.breaks("told otherwise", `${what}: reply ${reply.seq} is ${JSON.stringify(message)}`, why);
    }
    const entry = entries.find((one) => one.entry.message_id === reply.message_id);
    if (entry ? !wanted.includes(entry) : !wanted.some((one) => isSame({ ...reply, message_id: "" }, one.entry))) {
      ledger.breaks("misattributed", `${what}: was given ${normal(reply.content)}, which answers another`, why);
    }
  }
  if (told.messages.length < wanted.length) {
    ledger.breaks("told otherwise", `${what}: was given ${told.messages.length} of ${wanted.length} replies`, why);
  }
}

/** Whether a stranger's entry, or a reply to one, stands between a message and the end of its reply. */
function isInterrupted({ entries }: Here, own: Placed, replies: Placed[]): boolean {
  const end = replies.at(-1)?.place ?? own.place;
  const strangers = new Set(entries.filter(isStrangers).map(({ entry }) => entry.message_id));
  return entries
    .slice(own.place, end)
    .some(({ entry }) => entry.truth?.isStrangers || strangers.has(entry.truth?.answers ?? ""));
}

/** The reason why a violation by a send is excused, if docs/turns.md calls the case undecidable. */
function excuseOf(here: Here, sent: Sent): Excuse | undefined {
  const { ledger, entries, matches, idOf } = here;
  if (ledger.isOverwritten(sent.chatId, sent.from)) return "overwritten by the old server";
  if (isUndecided(here, sent)) return "undecided";
  const isPlaceholder = (text: string) => isGuarded(here) && text.includes(guardedWord);
  const text = normal(sent.content);
  for (const one of entries) {
    const { entry } = one;
    if (entry.role !== "user") continue;
    const at = entry.created_timestamp ?? 0;
    const isAnothers =
      entry.truth?.isStrangers || (one.sent && one.sent.key !== sent.key && isDisplaced(here, one.sent));
    if (!isAnothers || at > sent.to + slackMs) continue;
    // What was said before the send may have been read before: that it was not shows by its being taken for the send.
    if (at < sent.from - slackMs && matches.get(one)?.internal?.key !== idOf(sent)) continue;
    const said = entry.truth?.said ?? "";
    if (normal(said) === text || isPlaceholder(said) || isPlaceholder(sent.content)) return "a stranger's equal text";
  }
  return isTheFirst(entries, sent) ? "the first stranger" : undefined;
}

/** Whether a send was answered with the reply to a stranger. Its own entry came later, and counts as a stranger's. */
function isDisplaced({ ledger, entries }: Here, { key }: Sent): boolean {
  const strangers = new Set(
    entries.filter(({ entry }) => entry.truth?.isStrangers).map(({ entry }) => entry.message_id),
  );
  const accepted = ledger.accepted.find((one) => one.key === key);
  return accepted?.told.messages.some(({ message_id }) => strangers.has(message_id)) === true;
}

/** Whether the chat's agent has a guardrail, which shows a placeholder for texts with the word. */
const isGuarded = ({ chat }: Here) => chat.agent_id === guardedAgent;

/**
 * Whether a client was told that it stays undecided, and it does: others spoke meanwhile, or the text was replaced. A send
 * that the old server has overwritten is nobody's here: its entry is like another's.
 */
function isUndecided(here: Here, { key, content, from, to }: Sent): boolean {
  const { ledger, chatId, entries } = here;
  const isAnothers = ({ entry, sent }: Placed) =>
    entry.truth?.isStrangers || (sent && sent.key !== key && ledger.isOverwritten(chatId, sent.from));
  const mayBeIt = ({ created_timestamp: at = 0 }: Entry) => at > from - readMs && at <= to + slackMs;
  const isReplaced = isGuarded(here) && content.includes(guardedWord);
  const isOpen =
    isReplaced || entries.some((one) => one.entry.role === "user" && isAnothers(one) && mayBeIt(one.entry));
  return isOpen && ledger.undecided.some((one) => one.key === key);
}

/** The reason why a stranger's entry is not stored: it was taken for a send that never arrived, by its place. */
function excuseOfStranger({ ledger, chatId, entries }: Here, one: Placed): Excuse | undefined {
  const isGiven = ledger.accepted.some((sent) => sent.chatId === chatId && isTheFirst(entries, sent));
  return isStrangers(one) && isGiven ? "the first stranger" : undefined;
}

const isStrangers = ({ entry }: Placed) => entry.role === "user" && entry.truth?.isStrangers === true;

/** Whether a send never arrived, and a stranger wrote in the chat while its client repeated it. */
function isTheFirst(entries: Placed[], sent: Sent): boolean {
  const hasArrived = entries.some((one) => one.entry.truth?.said === sent.content && !isStrangers(one));
  const isMeanwhile = (at = 0) => at >= sent.from - slackMs && at <= sent.to + slackMs;
  return !hasArrived && entries.some((one) => isStrangers(one) && isMeanwhile(one.entry.created_timestamp));
}

/** The difference between a sender's clock and the simulator's, and the time of a request. */
const slackMs = 1_000;
/** What was said so long before a send may have been read after it. */
const readMs = 5 * 60_000;

/**
 * If a client got the answer to one message before it sent the next, they are stored in that order; and the entries of
 * our sends are in Retell's order. Strangers' entries may have been learned later.
 */
function checkOrder(here: Here, delivered: Message[]): void {
  const { ledger, chatId, entries, matches } = here;
  const last = new Map<number, number>();
  for (const { client, key, told, from } of ledger.accepted.filter((accepted) => accepted.chatId === chatId)) {
    const { seq } = told.user_message;
    if (seq <= (last.get(client) ?? Number.NEGATIVE_INFINITY)) {
      const excuse = ledger.isOverwritten(chatId, from) ? "overwritten by the old server" : undefined;
      ledger.breaks("out of order", `${key} in ${chatId}: ${seq}`, excuse);
    }
    last.set(client, seq);
  }

  const places = new Map(delivered.map((message, place) => [message, place]));
  let before: { here: number; one: Placed } | undefined;
  for (const one of entries) {
    const place = places.get(matches.get(one) as Message);
    if (place === undefined || one.entry.truth?.isStrangers) continue;
    if (before && place < before.here) {
      const lines = [before.one, one].map(({ entry, place }) => `${place + 1} (${lineOf(entry)})`);
      // A send whose entry was taken for somebody else's may have been learned later too.
      const reasons = [before.one, one].map(({ sent }) => (sent ? excuseOf(here, sent) : undefined));
      const wasOverwritten = ledger.isOverwritten(chatId, 0) ? "overwritten by the old server" : undefined;
      const excuse = reasons.find((reason) => reason !== undefined) ?? wasOverwritten;
      ledger.breaks("out of order", `${chatId}: ${lines.join(" stands behind ")}`, excuse);
    }
    before = { here: place, one };
  }
}

function checkCreates(ledger: Ledger, documents: Map<string, Document>, held: Chat[]): void {
  const Ours = z.object({ [reservedKey]: z.object({ request: z.string(), stage: z.string() }) });
  const handedOut = new Set(ledger.created.values());
  const alive = new Map<string, string[]>();
  for (const chat of held) {
    const isEndedByUs = chat.status === "ended" && chat.disconnection_reason === "manual_stopped";
    if (isEndedByUs && !ledger.endsAsked.has(chat.chat_id)) {
      const isOurs = handedOut.has(chat.chat_id) || chat.entries.some(({ role }) => role === "user");
      if (isOurs) ledger.breaks("ended alive", chat.chat_id);
    }
    const ours = Ours.safeParse(chat.metadata).data?.[reservedKey];
    if (ours === undefined) continue;
    const { request, stage } = ours;
    if (chat.status === "ongoing" && !documents.has(chat.chat_id)) {
      ledger.breaks("orphans", `${chat.chat_id} of ${stage}`);
    }
    const isUsed = chat.status === "ongoing" || chat.entries.some(({ role }) => role === "user");
    if (isUsed) alive.set(request, [...(alive.get(request) ?? []), chat.chat_id]);
  }
  for (const [request, chats] of alive) {
    if (chats.length > 1) ledger.breaks("doubled under one key", `create ${request}: ${chats.join(", ")}`);
  }
}

/** How a key is stored. */
function idOf({ subaccountId, userId }: Found, chatId: string, key: string): string {
  const progress = { actor: { id: userId }, params: { subaccountId, chatId }, body: {}, key };
  return idempotencyOf(routes.message, progress as never)?.id ?? "";
}

/** An entry by role and content; what has no content by its other fields that say what it is. */
function lineOf({ role, content, tool_call_id }: Omit<Message, "message_id"> | Entry): string {
  return `${role}: ${normal(content)}${tool_call_id === undefined ? "" : ` (${tool_call_id})`}`;
}
