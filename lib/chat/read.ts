import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import { ApiError } from "../platform/errors.ts";
import { Lru } from "../platform/lru.ts";
import { reservedKey, retellFor } from "../retell/client.ts";
import { countOf, needsImport, type ReadChat, type StoredChat } from "./model.ts";
import type { Message, Transcript } from "./schema.ts";
import { type Settled, settle } from "./settle.ts";
import { shortenShown } from "./shorten.ts";
import * as chats from "./store/chats.ts";
import { recordOf, summaryOf, transcriptText, visible } from "./view.ts";

/** Lambda refuses answers above 6 MB, and counts its own JSON with the body escaped inside. */
const maxAnswerBytes = 5_500_000;

/** Apps poll: within a second of this instance's last reading at Retell, Mongo answers. */
const pollMs = 1_000;
/** Retell reads in a fraction of a second. Whoever waits longer for it is better off with what we have. */
const patienceMs = 8_000;
const readAt = new Lru<number>(10_000);

/**
 * A chat as it is now: a chat that is over as it is stored, an ongoing one read from Retell and merged first.
 *
 * @returns `stale` when Retell, or the way to it, failed and `chat` is what we knew.
 * @throws CHAT_NOT_FOUND; with `strong` whatever made Retell unreachable
 */
export async function current(
  tenant: TenantContext,
  chatId: string,
  deadline: Deadline,
  strong: boolean,
): Promise<{ chat: ReadChat; stale: boolean }> {
  const chat = await chats.getOrThrow(tenant, chatId);
  const name = `${tenant.subaccountId}:${chatId}`;
  const isFresh = !strong && isWhole(chat) && (readAt.get(name) ?? 0) > Date.now() - pollMs;
  if (isFinal(chat) || isFresh) return { chat, stale: false };

  const startedAt = Date.now();
  let failure: ApiError | undefined;
  let settled: Settled = { chat, open: undefined, failure: undefined };
  try {
    const retell = await retellFor(tenant);
    const signal = strong ? deadline.call() : AbortSignal.any([deadline.call(), AbortSignal.timeout(patienceMs)]);
    settled = await settle({ tenant, chatId, retell }, { signal, seen: chat });
    failure = settled.failure;
  } catch (error) {
    // The account's own trouble. Anything else (Mongo, a bug) is not hidden by an old copy.
    if (!(error instanceof ApiError) || !/^(RETELL|API_KEY)_/.test(error.code)) throw error;
    failure = error;
  }
  if (!failure) {
    if (settled.open !== "live") readAt.set(name, startedAt);
    return { chat: settled.chat, stale: false };
  }
  if (strong) throw failure;
  tenant.log.warn("Retell not read: the stored copy is shown", failure);
  return { chat: settled.chat, stale: true };
}

/** Whether everything that is known of a chat is stored. */
const isWhole = (chat: ReadChat) => !chat.internal?.turn && !chat.internal?.overflows && !needsImport(chat);

/** Whether no more will be said in a chat, and all of it is stored. */
export const isFinal = (chat: ReadChat) => chat.chat_status !== "ongoing" && isWhole(chat);

/** How a transcript is asked for. */
export interface Window {
  limit?: number | undefined;
  /** Exclusive. */
  afterSeq?: number | undefined;
  withTools: boolean;
}

/**
 * A stored copy whose places will change: a chat of the old server that could not be imported yet. It is shown whole and
 * without seq, as a seq that was shown never changes.
 */
export const isUnread = (chat: ReadChat, stale: boolean) =>
  needsImport(chat) && (stale || chat.internal?.turn !== undefined);

/** A chat as clients see it, whole or a page of it, and what is said of the page. */
export function transcriptOf(
  chat: StoredChat,
  { limit, afterSeq, withTools }: Window,
  isPlaced = true,
): { data: Transcript; page: { hasMore?: boolean; nextSeq?: number } } {
  const isPaged = isPlaced && (limit !== undefined || afterSeq !== undefined);
  const all = visible(chat, withTools);
  const asked = isPaged && afterSeq !== undefined ? all.filter(({ seq }) => seq > afterSeq) : all;
  const page = isPaged && limit !== undefined ? asked.slice(0, limit) : asked;
  const base = withoutMessages(chat);
  const transcript = isPaged ? undefined : finalTextOf(chat) || transcriptText(chat.messages);

  const fits = isSmall(page) || sizeOf({ ...base, transcript, messages: page }) <= maxAnswerBytes;
  const messages = fits ? page : cut(page, maxAnswerBytes - sizeOf(base));
  const hasMore = messages.length < asked.length;
  const nextSeq = isPlaced ? messages.at(-1)?.seq : undefined;
  const shown = isPlaced ? messages : messages.map(({ seq: _changes, ...message }) => message);
  return {
    data: { ...base, ...(fits && transcript !== undefined ? { transcript } : {}), messages: shown },
    page: isPaged || hasMore ? { hasMore, ...(hasMore && nextSeq !== undefined ? { nextSeq } : {}) } : {},
  };
}

/** The text that is stored once a chat is over, if there is one. */
const finalTextOf = ({ chat_status, transcript }: StoredChat) =>
  chat_status !== "ongoing" && typeof transcript === "string" && transcript;

function withoutMessages(chat: StoredChat): Omit<Transcript, "messages" | "transcript"> {
  // Ours is in no document that we write; the server that this one replaces may copy it back from Retell.
  const { [reservedKey]: _ours, ...metadata } = recordOf(chat.metadata) ?? {};
  return {
    ...summaryOf(chat),
    chat_id: chat.chat_id,
    message_count: countOf(chat.messages),
    metadata,
    retell_llm_dynamic_variables: recordOf(chat.retell_llm_dynamic_variables) ?? {},
    collected_dynamic_variables: recordOf(chat.collected_dynamic_variables) ?? {},
    chat_cost: recordOf(chat.chat_cost) ?? null,
    chat_analysis: recordOf(chat.chat_analysis) ?? null,
  };
}

/** As many messages as fit, one at least. One that is too large for an answer of its own is shortened. */
function cut(messages: Message[], budget: number): Message[] {
  let left = budget;
  const end = messages.findIndex((message) => {
    left -= sizeOf(message) + 1;
    return left < 0;
  });
  if (end === 0) return shortenShown(messages.slice(0, 1), budget, sizeOf);
  return end < 0 ? messages : messages.slice(0, end);
}

/** The agent's messages as the answer to a send, which Lambda lets through. */
export const replyOf = (messages: Message[]): Message[] => shortenShown(messages, maxAnswerBytes, sizeOf);

/** Bytes in Lambda's answer, where the body is a string inside JSON. */
function sizeOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(JSON.stringify(value)));
}

/** Far below the limit by any count, so that nothing need be counted: the common case. */
function isSmall(messages: Message[]): boolean {
  let characters = 0;
  for (const message of messages) {
    for (const value of Object.values(message)) {
      if (typeof value === "object") return false; // of a size that only counting tells
      characters += String(value).length + 40;
    }
  }
  return characters < 250_000;
}
