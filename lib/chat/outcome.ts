import { ApiError } from "../platform/errors.ts";
import { isUnreachable } from "../platform/mongo.ts";
import type { RetellError } from "../retell/errors.ts";
import { type ChatSnapshot, isLive, isUser, type StoredMessage, type Turn } from "./model.ts";
import type { ChatStatus, Message, UserMessage } from "./schema.ts";
import { visibleMessages } from "./view.ts";

/** What a turn came to. */
export interface Outcome {
  /** The agent's, in order. */
  messages: Message[];
  chat_status: ChatStatus;
}

/** What a send came to. */
export interface Sent extends Outcome {
  user: UserMessage;
  /** It was sent by an earlier request with the same Idempotency-Key. */
  isReplay: boolean;
}

/**
 * The outcome of a turn that somebody else may have settled, by what is stored of it.
 *
 * @param chat  Null: it could not be read.
 * @param cause Why Retell's answer does not tell.
 * @throws MESSAGE_SEND_FAILED, with an unknown outcome without a chat or with the turn still open; CHAT_ENDED
 */
export function settledOutcome(chat: ChatSnapshot | null, turnId: string, cause?: RetellError): Outcome {
  // If the message failed and Retell had it after all, it stands twice: the last one counts.
  const own = chat?.messages.findLast(({ internal, role }) => role === "user" && internal?.turn === turnId);
  if (!chat || !own || chat.internal?.turn?.id === turnId) throw unknownOutcome(turnId, cause);
  if (!own.internal?.failed) return outcomeOf(chat, turnId);
  if (own.internal.undecided) throw undecidedOutcome(turnId);
  if (chat.chat_status !== "ongoing") throw new ApiError("CHAT_ENDED", { cause });
  throw cause ?? new ApiError("MESSAGE_SEND_FAILED");
}

/**
 * The outcome of an earlier send, as the answer to that send gave it.
 *
 * @throws MESSAGE_SEND_FAILED with `details.outcome: "undecided"` when nobody can say whether it was delivered
 */
export function replayOf(chat: ChatSnapshot, turnId: string): Sent {
  const [user] = messagesOf(chat, turnId).filter(isUser);
  if (!user) throw new Error("A settled turn without its user message");
  const userMessage = toUserMessage(user, user.seq);
  if (user.delivery === "failed") throw undecidedOutcome(turnId, userMessage);
  return { ...outcomeOf(chat, turnId), user: userMessage, isReplay: true };
}

/** A user's message of ours as answers name it. It was stored with an id. */
export function toUserMessage(
  { message_id = "", client_message_id }: Pick<StoredMessage, "message_id" | "client_message_id">,
  seq: number,
): UserMessage {
  return { message_id, seq, ...(client_message_id === undefined ? {} : { client_message_id }) };
}

/** What is stored of a turn. Only the turn in which the agent ended the chat tells of the end. */
function outcomeOf(chat: ChatSnapshot, turnId: string): Outcome {
  const messages = messagesOf(chat, turnId).filter(({ role }) => role === "agent");
  if (chat.internal?.endedIn !== turnId) return { messages, chat_status: "ongoing" };
  return { messages, chat_status: chat.chat_status === "ongoing" ? "ended" : chat.chat_status };
}

/** The messages of a turn, as clients see them. */
function messagesOf(chat: ChatSnapshot, turnId: string): Message[] {
  const prepended = chat.internal?.prependedCount ?? 0;
  return visibleMessages(chat, false).filter(
    ({ seq }) => chat.messages[seq - 1 + prepended]?.internal?.turn === turnId,
  );
}

/** Whether a turn that came to this error stays open, for the next reader to settle. */
export function isOpen(error: unknown): boolean {
  return !(error instanceof ApiError) || error.details?.outcome === "unknown" || isUnreachable(error);
}

/** @throws CHAT_BUSY while the sender of the open turn may be alive. */
export function refuseLiveTurn({ internal, now }: ChatSnapshot): void {
  if (internal?.turn && isLive(internal.turn, now)) throw chatBusy(internal.turn, now);
}

/**
 * @param turn The open turn; undefined when it is not known which.
 * @param own  The message of the turn, if the request is a repeat of its send. Then the error is REQUEST_IN_PROGRESS.
 */
export function chatBusy(turn: Turn | undefined, now: Date, own?: UserMessage): ApiError {
  // A live turn is over in seconds. For an open one whose sender is gone, the wait grows with its age.
  const isWaiting = turn && !isLive(turn, now);
  const ageMs = turn ? now.getTime() - turn.at.getTime() : 0;
  return new ApiError(own ? "REQUEST_IN_PROGRESS" : "CHAT_BUSY", {
    retryAfter: isWaiting ? Math.min(60, Math.max(5, Math.round(ageMs / 4_000))) : 2,
    ...(own ? { details: { user_message: own } } : {}),
  });
}

/** Final: a repeat is told the same, and sends nothing. */
function undecidedOutcome(turnId: string, userMessage?: UserMessage): ApiError {
  return new ApiError("MESSAGE_SEND_FAILED", {
    status: 504,
    message: "Others spoke in this chat, and it cannot be decided whether the agent got this message",
    details: { outcome: "undecided", turnId, ...(userMessage ? { user_message: userMessage } : {}) },
  });
}

export function unknownOutcome(turnId: string, cause: unknown): ApiError {
  return new ApiError("MESSAGE_SEND_FAILED", {
    status: 504,
    message: "The agent has not answered in time; the message may still arrive",
    details: { outcome: "unknown", turnId },
    cause,
  });
}
