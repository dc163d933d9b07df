import type { TenantContext } from "../access/tenant.ts";
import { ApiError, type ErrorCode } from "../platform/errors.ts";
import { asFailure, RetellError } from "../retell/errors.ts";
import type { RetellMessage } from "../retell/schema.ts";
import type { ChatContext } from "./context.ts";
import { type FinalHistory, forgetIfOver, storeEnding } from "./ending.ts";
import { type ChatSnapshot, isUser, needsImport, type StoredMessage } from "./model.ts";
import { toStoredMessage } from "./new-message.ts";
import { numbered } from "./search/segment.ts";
import { withWords } from "./search/with-words.ts";
import { fitsDocument } from "./size.ts";
import * as chats from "./store/chats.ts";
import * as settling from "./store/settling.ts";
import { lostHistoryMs } from "./timing.ts";

/** A chat that could not be imported now, as it can be shown. */
interface NotImported {
  chat: ChatSnapshot;
  openTurn: undefined;
  /** Why Retell could not be read. */
  failure: RetellError | undefined;
}

/**
 * IMPORT, before a send.
 *
 * @throws RetellError of the given code when Retell's history cannot be read: nothing is sent on half a history.
 *         PAYLOAD_TOO_LARGE when it does not fit into a document.
 */
export async function importLegacyChat(context: ChatContext, code: ErrorCode, signal: AbortSignal): Promise<void> {
  const chat = await chats.getOrThrow(context.tenant, context.chatId);
  if (!needsImport(chat)) return; // another request was faster
  const notImported = chat.internal?.overflows ? { failure: undefined } : await importHistory(context, chat, signal);
  if (!notImported) return;
  const { failure } = notImported;
  if (failure) throw new RetellError(code, failure.kind, failure);
  throw new ApiError("PAYLOAD_TOO_LARGE", { message: "The chat is full; start a new one" });
}

/**
 * IMPORT: gives a legacy chat Retell's whole history, merged with what the old server stored. Without that history
 * nothing is imported, as the messages would stand in the wrong order for good. If the chat is over, its end is stored
 * without the messages, and the next reader imports.
 *
 * @param final A history that shows the chat as over; absent: Retell is read.
 * @returns     Undefined once it is imported, or another request has changed the chat.
 */
export async function importHistory(
  context: ChatContext,
  chat: ChatSnapshot,
  signal: AbortSignal,
  final?: FinalHistory,
): Promise<NotImported | undefined> {
  const { tenant, chatId, retell } = context;
  const history: FinalHistory | RetellError = final ?? (await retell.retrieve(chatId, signal).catch(asFailure));
  if (history instanceof RetellError && !isLost(chat, history)) return { chat, openTurn: undefined, failure: history };

  const known = history instanceof RetellError ? undefined : history;
  const entries = known?.message_with_tool_calls ?? undefined;
  // Without entries, an assumed end is one whose history could not be read. Others may lack them too: an agent can be
  // set to keep none.
  if (known?.isAssumed && !entries) return closeWithoutImport(tenant, chat, known, chat.messages);

  const messages = mergeHistory(chat.messages, entries ?? []);
  if (!fitsDocument(chat, messages)) {
    await markOverflow(tenant, chat);
    return closeWithoutImport(tenant, chat, known, messages);
  }
  const retellUserCount = (entries ?? messages).filter(isUser).length;
  const imported = await withWords(
    settling.importMessages(tenant, chat, messages, retellUserCount),
    tenant,
    chat,
    numbered(chat, messages),
  );
  if (imported) await forgetIfOver(tenant, imported);
  return undefined;
}

/** Whether Retell refuses a chat that has been over for a week: its history will not be readable any more. */
function isLost({ chat_status, endedAt, now }: ChatSnapshot, { kind }: RetellError): boolean {
  const isOld = endedAt instanceof Date && now.getTime() - endedAt.getTime() > lostHistoryMs;
  return kind === "refused" && chat_status !== "ongoing" && isOld;
}

/** Stores the end of a chat that cannot be imported yet. */
async function closeWithoutImport(
  tenant: TenantContext,
  chat: ChatSnapshot,
  history: FinalHistory | undefined,
  messages: StoredMessage[],
): Promise<NotImported | undefined> {
  const closed = history ? await storeEnding(tenant, chat, history, { "internal.importPending": true }) : chat;
  return closed && { chat: { ...closed, messages, transcript: "" }, openTurn: undefined, failure: undefined };
}

/** Marks a chat whose history does not fit into its document: it takes no new turn, and is read from Retell. */
export async function markOverflow(tenant: TenantContext, chat: ChatSnapshot): Promise<void> {
  if (chat.internal?.overflows) return;
  const isFirst = await settling.markOverflowing(tenant, chat.chat_id);
  if (isFirst) tenant.log.warn("A history does not fit into a document: it is read from Retell, and takes no new turn");
}

/**
 * Merges Retell's history with the messages that we have. They are matched by message_id, else by what they say, from
 * the last one on. Each of ours is in the result, with its id, its text and our private fields; one that Retell lacks
 * stands after the message that it followed. Pure.
 */
export function mergeHistory(ours: StoredMessage[], entries: RetellMessage[]): StoredMessage[] {
  const indexes = indexesOf(ours, entries);
  const oursAt = new Map([...indexes].map(([mine, index]) => [index, mine]));
  const between: StoredMessage[][] = entries.map(() => []).concat([[]]);
  let after: number | undefined;
  for (const [at, mine] of ours.entries()) {
    const index = indexes.get(mine);
    if (index !== undefined) {
      after = index + 1;
      continue;
    }
    const next = ours.slice(at).find((one) => indexes.has(one));
    const before = after ?? (next && indexes.get(next)) ?? entries.length;
    between[before]?.push(asImported(mine));
  }
  return entries
    .flatMap((entry, index) => [...(between[index] ?? []), withOurs(entry, oursAt.get(index))])
    .concat(between.at(-1) ?? []);
}

/** Whether a history that may be a part of Retell's has all messages that the old server stored. */
export const containsAll = (ours: StoredMessage[], entries: RetellMessage[]) =>
  indexesOf(ours, entries).size === ours.length;

/** The index of each of our messages in Retell's history; those that it lacks are absent. */
function indexesOf(ours: StoredMessage[], entries: RetellMessage[]): Map<StoredMessage, number> {
  const indexes = new Map<StoredMessage, number>();
  const taken = new Set<number>();
  const take = (mine: StoredMessage, index: number | undefined) => {
    if (index === undefined || taken.has(index)) return;
    indexes.set(mine, index);
    taken.add(index);
  };
  const byId = new Map(entries.map(({ message_id }, index) => [message_id, index]));
  for (const mine of ours) if (mine.message_id !== undefined) take(mine, byId.get(mine.message_id));

  const byText = Map.groupBy(entries.entries(), ([, entry]) => textOf(entry));
  let end = entries.length;
  for (const mine of ours.toReversed()) {
    const same = indexes.has(mine) ? [] : (byText.get(textOf(mine)) ?? []);
    while (same.length > 0 && !indexes.has(mine)) {
      const [index] = same.pop() ?? [];
      if (index !== undefined && index < end) take(mine, index);
    }
    end = Math.min(end, indexes.get(mine) ?? end);
  }
  return indexes;
}

/** What a message says, whatever its white space. Ids of tool calls alone do not identify one: models reuse them. */
function textOf({ role, content, arguments: args, tool_call_id }: RetellMessage): string {
  const said = (content ?? "").normalize().replace(/\s+/g, " ").trim();
  return JSON.stringify([role, tool_call_id ?? null, args ?? null, said]);
}

/** An entry of Retell's that is also a message of ours. If Retell's text continues ours, it is taken. */
function withOurs(entry: RetellMessage, mine: StoredMessage | undefined): StoredMessage {
  const theirs = toStoredMessage(entry);
  if (!mine) return theirs;
  const isWhole = mine.content === undefined || theirs.content?.startsWith(mine.content);
  return asImported({
    ...theirs,
    ...mine,
    message_id: mine.message_id ?? theirs.message_id,
    content: isWhole ? theirs.content : mine.content,
  });
}

/** A message as it is imported: it stands where it belongs, so `after` is dropped. */
function asImported({ internal, ...message }: StoredMessage): StoredMessage {
  const { after: _placed, ...rest } = internal ?? {};
  const whole = toStoredMessage(message);
  return { ...whole, internal: { ...whole.internal, ...rest } };
}
