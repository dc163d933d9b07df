import type { TenantContext } from "../access/tenant.ts";
import { ApiError, type ErrorCode } from "../platform/errors.ts";
import { asFailure, RetellError } from "../retell/errors.ts";
import type { RetellMessage } from "../retell/schema.ts";
import type { ChatContext } from "./context.ts";
import { close, type Final, forgetOver } from "./ending.ts";
import { isUser, needsImport, type ReadChat, type StoredMessage, toStoredMessage } from "./model.ts";
import { fits } from "./size.ts";
import * as chats from "./store/chats.ts";
import * as settling from "./store/settling.ts";

/** A chat that could not be imported now: what there is to show. */
interface NotImported {
  chat: ReadChat;
  open: undefined;
  /** Why Retell could not be read. */
  failure: RetellError | undefined;
}

const weekMs = 7 * 24 * 3_600_000;

/**
 * ADOPT, before a send.
 *
 * @throws RetellError of the given code when Retell's history cannot be read: nothing is sent on half a history.
 *         PAYLOAD_TOO_LARGE when it does not fit into a document.
 */
export async function importLegacyChat(place: ChatContext, code: ErrorCode, signal: AbortSignal): Promise<void> {
  const chat = await chats.getOrThrow(place.tenant, place.chatId);
  if (!needsImport(chat)) return; // somebody else was faster
  const left = chat.internal?.overflows ? { failure: undefined } : await importHistory(place, chat, signal);
  if (!left) return;
  if (left.failure) throw new RetellError(code, left.failure.failure, left.failure);
  throw new ApiError("PAYLOAD_TOO_LARGE", { message: "The chat is full; start a new one" });
}

/**
 * ADOPT: gives a chat that the old server wrote Retell's whole history, merged with what the old server stored. Without that
 * history nothing is imported, as the messages would stand in the wrong order for good: an end is stored before, and
 * whoever comes next imports.
 *
 * @param given A history that shows the chat as over.
 * @returns     Undefined once it is imported, or somebody else has changed the chat.
 */
export async function importHistory(
  place: ChatContext,
  chat: ReadChat,
  signal: AbortSignal,
  given?: Final,
): Promise<NotImported | undefined> {
  const { tenant, chatId, retell } = place;
  const history: Final | RetellError = given ?? (await retell.retrieve(chatId, signal).catch(asFailure));
  if (history instanceof RetellError && !isLost(chat, history)) return { chat, open: undefined, failure: history };

  const final = history instanceof RetellError ? undefined : history;
  const entries = final?.message_with_tool_calls ?? undefined;
  // An assumed end without entries is one whose history could not be read; an agent may also keep no history.
  if (final?.isAssumed && !entries) return closeBefore(tenant, chat, final, chat.messages);

  const messages = importedFrom(chat.messages, entries ?? []);
  if (!fits(chat, messages)) {
    await tellOverflow(tenant, chat);
    return closeBefore(tenant, chat, final, messages);
  }
  const retellUserCount = (entries ?? messages).filter(isUser).length;
  const imported = await settling.importMessages(tenant, chat, messages, retellUserCount);
  if (imported) await forgetOver(tenant, imported);
  return undefined;
}

/** Retell has refused a chat that is over for a week: no more of it will come. */
function isLost({ chat_status, endedAt, now }: ReadChat, { failure }: RetellError): boolean {
  const isOld = endedAt instanceof Date && now.getTime() - endedAt.getTime() > weekMs;
  return failure === "refused" && chat_status !== "ongoing" && isOld;
}

/** Stores the end of a chat that cannot be imported yet. */
async function closeBefore(
  tenant: TenantContext,
  chat: ReadChat,
  history: Final | undefined,
  messages: StoredMessage[],
): Promise<NotImported | undefined> {
  const closed = history ? await close(tenant, chat, history, { "internal.importPending": true }) : chat;
  return closed && { chat: { ...closed, messages, transcript: "" }, open: undefined, failure: undefined };
}

/** Marks a chat whose history does not fit into its document: it takes no new turn, and is read from Retell. */
export async function tellOverflow(tenant: TenantContext, chat: ReadChat): Promise<void> {
  if (chat.internal?.overflows) return;
  const isFirst = await settling.markOverflowing(tenant, chat.chat_id);
  if (isFirst) tenant.log.warn("A history does not fit into a document: it is read from Retell, and takes no new turn");
}

/**
 * Retell's history with what we have of it. Messages are matched by message_id, else by what they say, the last first.
 * Each of ours is there afterwards, with its id, its text and what is private to us; what Retell lacks stands after the
 * message that it followed. Pure.
 */
export function importedFrom(ours: StoredMessage[], entries: RetellMessage[]): StoredMessage[] {
  const places = placesOf(ours, entries);
  const theirs = new Map([...places].map(([mine, place]) => [place, mine]));
  const between: StoredMessage[][] = entries.map(() => []).concat([[]]);
  let after: number | undefined;
  for (const [index, mine] of ours.entries()) {
    const place = places.get(mine);
    if (place !== undefined) {
      after = place + 1;
      continue;
    }
    const next = ours.slice(index).find((one) => places.has(one));
    const before = after ?? (next && places.get(next)) ?? entries.length;
    between[before]?.push(asImported(mine));
  }
  return entries
    .flatMap((entry, place) => [...(between[place] ?? []), withOurs(entry, theirs.get(place))])
    .concat(between.at(-1) ?? []);
}

/** Whether a history that may be a part of Retell's has all messages that the old server stored. */
export const hasAll = (ours: StoredMessage[], entries: RetellMessage[]) => placesOf(ours, entries).size === ours.length;

/** Where each of our messages stands in Retell's history; one that it lacks is not there. */
function placesOf(ours: StoredMessage[], entries: RetellMessage[]): Map<StoredMessage, number> {
  const places = new Map<StoredMessage, number>();
  const taken = new Set<number>();
  const take = (mine: StoredMessage, place: number | undefined) => {
    if (place === undefined || taken.has(place)) return;
    places.set(mine, place);
    taken.add(place);
  };
  const byId = new Map(entries.map(({ message_id }, place) => [message_id, place]));
  for (const mine of ours) if (mine.message_id !== undefined) take(mine, byId.get(mine.message_id));

  const byText = Map.groupBy(entries.keys(), (place) => textOf(entries[place] as RetellMessage));
  let end = entries.length;
  for (const mine of ours.toReversed()) {
    const same = places.has(mine) ? [] : (byText.get(textOf(mine)) ?? []);
    while (same.length > 0 && !places.has(mine)) {
      const place = same.pop();
      if (place !== undefined && place < end) take(mine, place);
    }
    end = Math.min(end, places.get(mine) ?? end);
  }
  return places;
}

/** What a message says, however it is spelled. Models use the ids of tool calls again and again: they tell too little. */
function textOf({ role, content, arguments: args, tool_call_id }: RetellMessage): string {
  const said = (content ?? "").normalize().replace(/\s+/g, " ").trim();
  return JSON.stringify([role, tool_call_id ?? null, args ?? null, said]);
}

/** An entry of Retell's that is also a message of ours: a text that goes on where ours stops is the whole of it. */
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

/** As it is stored, and no longer placed by a number: it stands where it belongs. */
function asImported({ internal, ...message }: StoredMessage): StoredMessage {
  const { after: _placed, ...rest } = internal ?? {};
  const whole = toStoredMessage(message);
  return { ...whole, internal: { ...whole.internal, ...rest } };
}
