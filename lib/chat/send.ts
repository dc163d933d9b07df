import { ApiError } from "../platform/errors.ts";
import { isUnreachable } from "../platform/mongo.ts";
import { sleep } from "../platform/time.ts";
import { isRefusal, RetellError } from "../retell/errors.ts";
import type { RetellMessage } from "../retell/schema.ts";
import { type BegunTurn, begin } from "./begin.ts";
import type { SendContext } from "./context.ts";
import { readFinalHistory, statusAfter } from "./end-status.ts";
import { type ChatSnapshot, type IdempotencyKey, isAgentOrUser, isUser, type StoredMessage } from "./model.ts";
import { type ClientMessage, toStoredMessage } from "./new-message.ts";
import { isOpen, type Outcome, type Sent, settledOutcome, unknownOutcome } from "./outcome.ts";
import type { NumberedMessage } from "./search/search-index.ts";
import { withWords } from "./search/with-words.ts";
import { type Settled, settle } from "./settle.ts";
import { shortenStored } from "./shorten.ts";
import { maxReplyBytes } from "./size.ts";
import * as chats from "./store/chats.ts";
import * as endings from "./store/endings.ts";
import * as turns from "./store/turns.ts";
import {
  endedChatMs,
  minSettleMs,
  minStoreMs,
  serverClocksMs,
  settleAfter500Ms,
  settleMs,
  storeAgainMs,
} from "./timing.ts";
import { visibleMessages } from "./view.ts";

/**
 * Sends what the user says, once, and returns what the agent answers. The message is stored before it is sent, the
 * reply before it is returned. With a key that was used before, the outcome of that send is returned.
 *
 * @see docs/turns.md
 * @throws CHAT_NOT_FOUND, CHAT_BUSY, CHAT_ENDED, PAYLOAD_TOO_LARGE (the chat is full), IDEMPOTENCY_KEY_REUSED,
 *         REQUEST_IN_PROGRESS; MESSAGE_SEND_FAILED, with `details.outcome: "unknown"` when it may still arrive
 */
export async function send(context: SendContext, said: ClientMessage, key: IdempotencyKey | undefined): Promise<Sent> {
  const { fields, metrics } = context.tenant.log;
  const begun = await begin(context, said, key);
  if ("isReplay" in begun) {
    fields.turn = "replayed";
    return begun;
  }
  fields.turnId = begun.turnId;
  Object.assign(context.begun, { userMessage: begun.user, settlesBy: Date.now() + settleMs() });
  try {
    const outcome = await callRetell(context, begun);
    fields.turn = "delivered";
    return { ...outcome, user: begun.user, isReplay: false };
  } catch (error) {
    fields.turn = isOpen(error) ? "unknown" : "failed";
    if (isOpen(error)) metrics.add("UnknownTurns");
    throw error;
  }
}

/**
 * Sends a begun turn to Retell and stores how it came out: the reply, or that Retell never got it, or that nobody knows
 * yet. A send is never repeated.
 */
async function callRetell(context: SendContext, turn: BegunTurn): Promise<Outcome> {
  const { tenant, chatId, retell, deadline } = context;
  const { turnId, isKeyed, startedAt } = turn;
  let reply: RetellMessage[];
  const calledAt = performance.now();
  try {
    reply = await retell.reply(chatId, turn.content, deadline.callSignal());
  } catch (error) {
    if (error instanceof RetellError) return settleUnanswered(context, turn, error);
    await turns.fail(tenant, chatId, turnId); // the API key was refused and there is no other: it was not sent
    throw error;
  }

  const entries = entriesOf(reply, turnId, performance.now() - calledAt);
  const mayBeOver = mayEnd(entries); // the answer of a completion has no status
  const isEndPending = isKeyed && mayBeOver;
  const [finished, final] = await Promise.all([
    withWords(
      finish(context, turnId, entries, { isEndPending, ...(mayBeOver ? { waitMs: endedChatMs } : {}) }),
      tenant,
      { chat_id: chatId, start_timestamp: startedAt },
      saidIn(turn, entries),
    ),
    mayBeOver ? readFinalHistory(context) : undefined,
  ]);
  // Another request has settled it: what is stored of it is the answer.
  if (!finished) return settledOutcome(await readIfReachable(context), turnId);

  tenant.log.metrics.add("MessagesSent");
  const messages = visibleMessages({ messages: finished.entries }, false).map((message) => ({
    ...message,
    seq: message.seq + finished.seq - 1,
  }));
  const chat_status = await statusAfter(context, turnId, { ...finished, final, isKeyed, isEndPending });
  // A repeat that comes before this note waits, and then decides the same.
  if (isEndPending && chat_status === "ongoing") {
    tenant.trailing.push(endings.noteNotEnded(tenant, chatId, turnId).catch(() => {}));
  }
  return { messages, chat_status };
}

/** @throws CHAT_NOT_FOUND when the chat was deleted during its turn: then its reply is stored nowhere. */
function readIfReachable({ tenant, chatId }: SendContext): Promise<ChatSnapshot | null> {
  return chats.getOrThrow(tenant, chatId).catch((error) => {
    if (isDeleted(error)) throw error;
    return null;
  });
}

const isDeleted = (error: unknown) => error instanceof ApiError && error.code === "CHAT_NOT_FOUND";

/** What was said in a turn. The reply follows the user's message: nobody else appends while the turn is open. */
function saidIn({ user, content }: BegunTurn, reply: StoredMessage[]): NumberedMessage[] {
  const entries = [{ role: "user", content }, ...reply];
  return entries.map((entry, index) => ({ ...entry, seq: user.seq + index }));
}

/** Whether the agent may have ended the chat with this reply: it holds more than messages, such as a tool call, or none of the agent. */
const mayEnd = (reply: StoredMessage[]) => !reply.some(({ role }) => role === "agent") || !reply.every(isAgentOrUser);

/**
 * The reply of a turn as it is stored: without the user's own entry, and without entries older than the call, which
 * Retell repeats from earlier turns; no larger than a chat has room for.
 */
function entriesOf(reply: RetellMessage[], turnId: string, tookMs: number): StoredMessage[] {
  // Retell's times are compared only with each other: other clocks may differ.
  const newest = Math.max(...reply.map(({ created_timestamp = 0 }) => created_timestamp));
  const isOlder = ({ created_timestamp: at = newest }: RetellMessage) => at < newest - tookMs - serverClocksMs;
  const entries = reply.filter((entry) => !isUser(entry) && !isOlder(entry));
  const messages = entries.map((entry) => toStoredMessage(entry, turnId));
  return shortenStored(messages, maxReplyBytes);
}

/**
 * Retell refused the message, or did not say. Only a message that was surely not sent has failed at once. A refusal may
 * come after the message was taken, so the history is read, also past the account's breaker, and decides.
 */
async function settleUnanswered(context: SendContext, { turnId }: BegunTurn, error: RetellError): Promise<Outcome> {
  const { tenant, chatId, deadline } = context;
  if (error.kind === "unsent") {
    await turns.fail(tenant, chatId, turnId);
    throw error;
  }

  const isRefused = isRefusal(error);
  let settled: Settled | undefined;
  try {
    await turns.mark(tenant, chatId, turnId, {
      ...(isRefused ? { refusedByRetell: true } : {}),
      ...(error.kind === "failed" ? { failedByRetell: true } : {}),
    });
    if (error.kind === "failed") context.begun.settlesBy = Date.now() + settleAfter500Ms;
    if (deadline.leftMs > minSettleMs) {
      settled = await settle(context, { signal: deadline.answerSignal(), bypassBreaker: isRefused });
    }
  } catch (failure) {
    if (isDeleted(failure)) throw failure;
    tenant.log.warn("A turn could not be settled at once", failure, { turnId });
  }
  // The history cannot be read: the turn stays open, and the next reader decides.
  if (isRefused && (!settled || settled.openTurn)) {
    throw new RetellError(error.code, error.kind, error, { outcome: "unknown", turnId });
  }
  return settledOutcome(settled?.chat ?? null, turnId, error);
}

/**
 * FINISH, until our time is over: Retell has the message, so its reply must not be lost to a moment without Mongo.
 * After that the turn stays open, and the next reader finds the reply in Retell's history.
 *
 * @param options If we die before the chat's end is stored, the sweep looks soon.
 * @returns Null when another request has settled the turn.
 */
async function finish(
  { tenant, chatId, deadline }: SendContext,
  turnId: string,
  entries: StoredMessage[],
  options: Parameters<typeof turns.finish>[4],
) {
  let first: unknown;
  let fresh = entries;
  for (;;) {
    try {
      const finished = await turns.finish(tenant, chatId, turnId, fresh, options);
      if (finished) return { ...finished, entries: fresh };
      // A read may have stored one of these entries as the late word of an earlier turn.
      const chat = await chats.get(tenant, chatId);
      if (chat?.internal?.turn?.id !== turnId) return null;
      const ids = new Set(chat.messages.map(({ message_id }) => message_id));
      fresh = fresh.filter(({ message_id }) => !ids.has(message_id));
    } catch (error) {
      if (!isUnreachable(error) || deadline.leftMs < minStoreMs) throw unknownOutcome(turnId, error);
      first ??= error; // one warning, however often it is tried
      tenant.log.warn("A reply could not be stored yet", first, { turnId });
      await sleep(storeAgainMs);
    }
  }
}
