import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import type { ApiError } from "../platform/errors.ts";
import { Lru } from "../platform/lru.ts";
import { reservedKey, retellFor } from "../retell/client.ts";
import { isRetellOrAccount } from "../retell/errors.ts";
import { allOf, type Changes, changesSince, revisionOf } from "./changes.ts";
import { type ChatSnapshot, countOf, needsImport, type StoredChat, seqAt } from "./model.ts";
import { encodeRevision, nothingSeen, type Revision } from "./revision.ts";
import type { Message, Transcript } from "./schema.ts";
import { type Settled, settle } from "./settle.ts";
import { shortenMessages } from "./shorten.ts";
import * as chats from "./store/chats.ts";
import { freshMs, readPatienceMs } from "./timing.ts";
import { plainObject, summaryOf, transcriptText, visibleMessages } from "./view.ts";

/** Lambda refuses answers above 6 MB. It counts its own JSON, with the body escaped inside. */
export const maxAnswerBytes = 5_500_000;

/** When this instance last read a chat at Retell, epoch ms. */
const readAt = new Lru<number>(10_000);

/**
 * A chat as it is now. A chat that is over is returned as stored; an ongoing one is read from Retell and merged first.
 *
 * @returns `stale`: Retell could not be read, and `chat` is the stored copy.
 * @throws CHAT_NOT_FOUND; with `strong` whatever made Retell unreachable
 */
export async function readChat(
  tenant: TenantContext,
  chatId: string,
  deadline: Deadline,
  strong: boolean,
): Promise<{ chat: ChatSnapshot; stale: boolean }> {
  const chat = await chats.getOrThrow(tenant, chatId);
  const name = `${tenant.subaccountId}:${chatId}`;
  const isFresh = !strong && isWhole(chat) && (readAt.get(name) ?? 0) > Date.now() - freshMs;
  if (isFinal(chat) || isFresh) return { chat, stale: false };

  const startedAt = Date.now();
  let failure: ApiError | undefined;
  let settled: Settled = { chat, openTurn: undefined, failure: undefined };
  try {
    const retell = await retellFor(tenant);
    const signal = strong
      ? deadline.callSignal()
      : AbortSignal.any([deadline.callSignal(), AbortSignal.timeout(readPatienceMs)]);
    settled = await settle({ tenant, chatId, retell }, { signal, current: chat });
    failure = settled.failure;
  } catch (error) {
    // Other errors (Mongo, a bug) are not hidden by a stored copy.
    if (!isRetellOrAccount(error)) throw error;
    failure = error;
  }
  if (!failure) {
    if (settled.openTurn !== "live") readAt.set(name, startedAt);
    return { chat: settled.chat, stale: false };
  }
  if (strong) throw failure;
  tenant.log.warn("Retell not read: the stored copy is shown", failure);
  return { chat: settled.chat, stale: true };
}

/** Whether our copy is complete: no turn is open, and nothing is left to import. */
const isWhole = (chat: ChatSnapshot) => !chat.internal?.turn && !chat.internal?.overflows && !needsImport(chat);

/** Whether no more will be said in a chat, and all of it is stored. */
export const isFinal = (chat: ChatSnapshot) => chat.chat_status !== "ongoing" && isWhole(chat);

/** Which messages of a transcript are asked for. */
export interface TranscriptWindow {
  limit?: number | undefined;
  /** Exclusive. */
  afterSeq?: number | undefined;
  /** What the client has seen: only what has changed since is asked for. */
  afterRevision?: Revision | undefined;
  withTools: boolean;
}

/**
 * Whether the seq of messages may still change: in a legacy chat that could not be imported yet. It is shown whole and
 * without seq, as a seq that was shown never changes.
 */
export const isSeqProvisional = (chat: ChatSnapshot, stale: boolean) =>
  needsImport(chat) && (stale || chat.internal?.turn !== undefined);

/** A chat as clients see it, whole or a page of it, and the page's `meta`. */
export function transcriptOf(
  chat: StoredChat,
  window: TranscriptWindow,
  isSeqFinal = true,
): { data: Transcript; page: { hasMore?: boolean; nextSeq?: number; revision: string } } {
  const { limit, afterSeq, afterRevision } = window;
  const isPaged = isSeqFinal && (limit ?? afterSeq ?? afterRevision) !== undefined;
  const { changed, added, last } = askedFor(chat, isSeqFinal ? window : { withTools: window.withTools });
  // Changed messages are never cut off, so that the next page begins after the last new one.
  const page = isPaged && limit !== undefined ? added.slice(0, Math.max(0, limit - changed.length)) : added;
  const base = withoutMessages(chat);
  const transcript = isPaged ? undefined : finalTextOf(chat) || transcriptText(chat.messages);

  const all = [...changed, ...page];
  const fits = isSmall(all) || sizeOf({ ...base, transcript, messages: all }) <= maxAnswerBytes;
  const messages = fits ? page : takeFitting(page, maxAnswerBytes - sizeOf(base) - sizeOf(changed));
  const hasMore = messages.length < added.length;
  const end = messages.at(-1)?.seq;
  const shown = isSeqFinal ? [...changed, ...messages] : messages.map(({ seq: _changes, ...message }) => message);
  const nextSeq = hasMore && isSeqFinal && !afterRevision && end !== undefined ? { nextSeq: end } : {};
  const revision = isSeqFinal ? revisionOf(chat, hasMore ? (end ?? last) : undefined) : nothingSeen;
  return {
    data: { ...base, ...(fits && transcript !== undefined ? { transcript } : {}), messages: shown },
    page: { ...(isPaged || hasMore ? { hasMore, ...nextSeq } : {}), revision: encodeRevision(revision) },
  };
}

/**
 * A stored chat as clients see it, whole, however large it is. What is not imported yet has no seq, as in a transcript.
 */
export function wholeTranscript(chat: ChatSnapshot): Transcript {
  const messages = visibleMessages(chat, false);
  return {
    ...withoutMessages(chat),
    transcript: finalTextOf(chat) || transcriptText(chat.messages),
    messages: needsImport(chat) ? messages.map(({ seq: _changes, ...message }) => message) : messages,
  };
}

/** The messages that a window asks for, of any number and size. */
function askedFor(chat: StoredChat, { afterSeq, afterRevision, withTools }: TranscriptWindow): Changes {
  if (afterRevision) {
    const changes = changesSince(chat, afterRevision, withTools);
    // Changed messages must fit into one answer. Otherwise all are given from the beginning, in pages.
    const isTooMuch = !isSmall(changes.changed) && sizeOf(changes.changed) > maxAnswerBytes / 2;
    return isTooMuch ? allOf(chat, afterRevision, withTools) : changes;
  }
  const all = visibleMessages(chat, withTools);
  const added = afterSeq === undefined ? all : all.filter(({ seq }) => seq > afterSeq);
  return { changed: [], added, last: afterSeq ?? seqAt(0, chat.internal) - 1 };
}

/** The text that is stored once a chat is over. */
const finalTextOf = ({ chat_status, transcript }: StoredChat) =>
  chat_status !== "ongoing" && typeof transcript === "string" && transcript;

function withoutMessages(chat: StoredChat): Omit<Transcript, "messages" | "transcript"> {
  // Our documents do not have our reserved key; the old server may copy it from Retell.
  const { [reservedKey]: _ours, ...metadata } = plainObject(chat.metadata) ?? {};
  return {
    ...summaryOf(chat),
    chat_id: chat.chat_id,
    message_count: countOf(chat.messages),
    metadata,
    retell_llm_dynamic_variables: plainObject(chat.retell_llm_dynamic_variables) ?? {},
    collected_dynamic_variables: plainObject(chat.collected_dynamic_variables) ?? {},
    chat_cost: plainObject(chat.chat_cost) ?? null,
    chat_analysis: plainObject(chat.chat_analysis) ?? null,
  };
}

/** As many messages as fit, at least one. A message that does not fit by itself is shortened. */
function takeFitting(messages: Message[], budget: number): Message[] {
  let left = budget;
  const end = messages.findIndex((message) => {
    left -= sizeOf(message) + 1;
    return left < 0;
  });
  if (end === 0) return shortenMessages(messages.slice(0, 1), budget, sizeOf);
  return end < 0 ? messages : messages.slice(0, end);
}

/** The agent's messages as the answer to a send, no larger than Lambda allows. */
export const replyOf = (messages: Message[]): Message[] => shortenMessages(messages, maxAnswerBytes, sizeOf);

/** Bytes in Lambda's answer, where the body is a string inside JSON. */
function sizeOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(JSON.stringify(value)));
}

/** Whether messages are far below the limit, however bytes are counted: the common case, which costs no serialising. */
function isSmall(messages: object[]): boolean {
  let characters = 0;
  for (const message of messages) {
    for (const value of Object.values(message)) {
      if (typeof value === "object") return false; // only serialising tells its size
      characters += String(value).length + 40;
    }
  }
  return characters < 250_000;
}
