import type { RetellChat, RetellMessage } from "../retell/schema.ts";
import { type Alignment, align, type NewPart } from "./align/align.ts";
import { type ChatSnapshot, isUser, type StoredMessage, type Turn } from "./model.ts";
import { toStoredMessage } from "./new-message.ts";

/** The next thing to write so that our history agrees with Retell's. */
export type Step =
  /** They agree. */
  | { kind: "none" }
  /** A turn is open, and its outcome cannot be decided yet. */
  | { kind: "later" }
  /**
   * The open turn failed. `absent`: Retell does not have it. `unverified`: there is no history that could tell.
   * `undecided`: Retell has entries that may be this message or somebody else's.
   */
  | { kind: "fail"; reason: "absent" | "unverified" | "undecided"; mayArrive: boolean }
  /** Opening messages that we learn of after the first send. */
  | { kind: "prepend"; entries: StoredMessage[] }
  /** Retell has more text of an entry than we stored. */
  | { kind: "correct"; index: number; content: string }
  /** Entries to append, possibly none; the open turn, if any, is done. */
  | {
      kind: "append";
      entries: StoredMessage[];
      /** How many user entries of Retell's our history accounts for afterwards. */
      retellUserCount: number;
      /** The turn that was open, or claimed by a late entry, and that the chat ended with. */
      lastTurn?: string;
    };

/** How long after a send absence in Retell's history proves nothing. */
export interface SettleTimes {
  settleMs: number;
  /** The same for a turn that Retell answered with a 500. */
  settleAfter500Ms: number;
}

/** What an open turn is decided by. */
interface OpenTurn {
  turn: Turn;
  /** The chat is over at Retell. */
  isOver: boolean;
  /** The turn is old enough that absence in Retell's history counts. */
  isOld: boolean;
}

/**
 * Compares our chat with Retell's history, which was read after it. Pure. `align` decides whose entry is whose.
 *
 * @param history What get-chat answered; undefined when it has no such chat (any more).
 */
export function reconcile(
  chat: ChatSnapshot,
  history: Pick<RetellChat, "chat_status" | "message_with_tool_calls"> | undefined,
  times: SettleTimes,
): Step {
  const turn = chat.internal?.turn;
  const isOver = history !== undefined && history.chat_status !== "ongoing";
  const open = turn && { turn, isOver, isOld: isOld(turn, chat.now, times) };
  const entries = usableEntries(chat, history?.message_with_tool_calls);
  if (!entries) return open ? withoutHistory(open) : { kind: "none" };

  const alignment = align(chat, entries, isOver, !open || isOver || open.isOld);
  const { lacking, corrections, newParts, ours } = alignment;
  const [correction] = corrections;
  if (correction) {
    return { kind: "correct", index: chat.messages.indexOf(correction.message), content: correction.content };
  }
  const [opening = [], ...late] = lacking;
  // Before the first send the opening is the end of our history.
  const hasSpoken = ours > 0 || turn !== undefined;
  if (opening.length > 0 && hasSpoken)
    return { kind: "prepend", entries: opening.map((entry) => toStoredMessage(entry)) };

  const lateMessages = late.flatMap((part, i) => part.map((entry) => placed(entry, i + 1, i + 1 === ours && !turn)));
  if (!hasSpoken) lateMessages.unshift(...opening.map((entry) => toStoredMessage(entry)));
  if (open) return decide(open, alignment, lateMessages);

  const added = [...lateMessages, ...newParts.flatMap(messagesOf)];
  if (added.length === 0) return { kind: "none" };
  const lastTurn = isOver ? newParts.at(-1)?.owner?.internal?.turn : undefined;
  return { kind: "append", entries: added, retellUserCount: ours + newParts.length, ...(lastTurn ? { lastTurn } : {}) };
}

function isOld({ at, markedAt, failedByRetell }: Turn, now: Date, times: SettleTimes): boolean {
  const since = failedByRetell ? (markedAt ?? at) : at;
  return now.getTime() - since.getTime() > (failedByRetell ? times.settleAfter500Ms : times.settleMs);
}

/**
 * Decides an open turn when Retell keeps no history, or has deleted it. Then even a chat that is over does not show
 * whether the message was delivered.
 */
function withoutHistory({ turn, isOld }: OpenTurn): Step {
  if (!turn.refusedByRetell && !isOld) return { kind: "later" };
  return { kind: "fail", reason: "unverified", mayArrive: !turn.refusedByRetell };
}

/** @param lateMessages What else is to be appended: late entries of parts that both histories have. */
function decide(
  { turn, isOver, isOld }: OpenTurn,
  { newParts, undecided, ours }: Alignment,
  lateMessages: StoredMessage[],
): Step {
  const own = newParts.find(({ owner }) => owner?.internal?.turn === turn.id);
  if (!own) {
    if (!isOver && !turn.refusedByRetell && !isOld) return { kind: "later" };
    const isUndecided = [...undecided].some(({ internal }) => internal?.turn === turn.id);
    const reason = isUndecided ? "undecided" : "absent";
    return { kind: "fail", reason, mayArrive: !turn.refusedByRetell && !isOver };
  }
  // Retell may show the user's message first and the reply later, in pieces. An agent's message completes it.
  if (!own.rest.some(({ role }) => role === "agent") && !isOver && !isOld) return { kind: "later" };
  const reply = own.rest.map((entry) => toStoredMessage(entry, turn.id));
  const others = newParts.filter((part) => part !== own).flatMap(messagesOf);
  const isLast = isOver && newParts.at(-1) === own;
  return {
    kind: "append",
    entries: [...reply, ...lateMessages, ...others],
    retellUserCount: ours + newParts.length,
    ...(isLast ? { lastTurn: turn.id } : {}),
  };
}

/** Retell's entries; undefined when they are not the history of this chat: storage is off, or all are gone. */
function usableEntries(
  { messages, internal }: ChatSnapshot,
  entries: RetellMessage[] | null | undefined,
): RetellMessage[] | undefined {
  if (!entries) return undefined;
  const isDelivered = (message: StoredMessage) =>
    isUser(message) && !message.internal?.failed && message.internal?.turn !== (internal?.turn?.id ?? "");
  if (!entries.some(isUser) && messages.some(isDelivered)) return undefined;
  return entries;
}

/**
 * A new part as it is stored. A part that is a send of ours that was given up takes over its turn, its key, so that a
 * repeat with the key gets the answer, and the client's id.
 */
function messagesOf({ user, rest, owner }: NewPart): StoredMessage[] {
  const { turn, key, hash } = owner?.internal ?? {};
  const message = toStoredMessage(user, turn);
  const internal = { ...message.internal, supersedes: turn, ...(key && hash ? { key, hash } : {}) };
  const { client_message_id } = owner ?? {};
  const own = { ...message, ...(client_message_id === undefined ? {} : { client_message_id }), internal };
  return [turn ? own : message, ...rest.map((entry) => toStoredMessage(entry, turn))];
}

/** An entry that we learn of after its turn stands at the end. `after` says which of our user messages it follows. */
function placed(entry: RetellMessage, after: number, isInPlace: boolean): StoredMessage {
  const message = toStoredMessage(entry);
  return isInPlace ? message : { ...message, internal: { ...message.internal, after } };
}
