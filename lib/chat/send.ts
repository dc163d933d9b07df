import { ApiError } from "../platform/errors.ts";
import { isUnreachable } from "../platform/mongo.ts";
import { sleep } from "../platform/time.ts";
import { isRefusal, RetellError } from "../retell/errors.ts";
import type { RetellMessage } from "../retell/schema.ts";
import type { SendContext } from "./context.ts";
import { chatForReplay, readFinalHistory, statusAfter } from "./end-status.ts";
import { importLegacyChat } from "./legacy.ts";
import {
  type IdempotencyKey,
  isAgentOrUser,
  isLive,
  isUser,
  type StoredMessage,
  toStoredMessage,
  userMessage,
} from "./model.ts";
import { chatBusy, isOpen, type Outcome, replayOf, type Sent, settledOutcome, unknownOutcome } from "./outcome.ts";
import { type Settled, settle } from "./settle.ts";
import { shortenStored } from "./shorten.ts";
import { maxReplyBytes } from "./size.ts";
import * as chats from "./store/chats.ts";
import * as endings from "./store/endings.ts";
import { findObstacle, type Obstacle } from "./store/obstacle.ts";
import * as turns from "./store/turns.ts";
import { endedChatMs, leaseMs, minCallMs, minSettleMs, minStoreMs, serverClocksMs, storeAgainMs } from "./timing.ts";
import { visibleMessages } from "./view.ts";

/** A turn that has begun: the user's message is stored, and the chat is ours until it is finished or failed. */
interface BegunTurn {
  turnId: string;
  content: string;
  /** It may be repeated with its key, and is then told what the first answer told. */
  isKeyed: boolean;
  user: { message_id: string; seq: number };
}

const rounds = 3;

/**
 * Sends what the user says, once, and returns what the agent answers. The message is stored before it is sent, the
 * reply before it is returned. With a key that was used before, the outcome of that send is returned.
 *
 * @see docs/turns.md
 * @throws CHAT_NOT_FOUND, CHAT_BUSY, CHAT_ENDED, PAYLOAD_TOO_LARGE (the chat is full), IDEMPOTENCY_KEY_REUSED;
 *         MESSAGE_SEND_FAILED, as a 504 with `details.outcome: "unknown"` when it may still arrive
 */
export async function send(context: SendContext, content: string, key: IdempotencyKey | undefined): Promise<Sent> {
  const { fields, metrics } = context.tenant.log;
  const begun = await begin(context, content, key);
  if ("isReplay" in begun) {
    fields.turn = "replayed";
    return begun;
  }
  fields.turnId = begun.turnId;
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

/** Stores what the user says and takes the chat's one turn. A turn that a dead sender left open is settled first. */
async function begin(
  context: SendContext,
  content: string,
  key: IdempotencyKey | undefined,
): Promise<BegunTurn | Sent> {
  const { tenant, chatId, deadline } = context;
  const turnId = crypto.randomUUID();
  const operationId = String(tenant.log.fields.operationId);
  const message = userMessage(content, turnId, key);
  const turn = { id: turnId, operationId, message, leaseMs: leaseMs() };

  for (let round = 0; round < rounds; round++) {
    // Settling and importing take time. Nothing has been sent.
    if (round > 0 && deadline.callAt - Date.now() < minCallMs) throw new ApiError("TIMEOUT");
    const begun = await turns.begin(tenant, chatId, turn).catch((error) => {
      // It may have been stored without an answer, or be stored later. Nothing was sent, so nobody need wait for it.
      // Not awaited: Mongo has just kept us waiting. If this fails, the turn is settled like a dead sender's.
      turns.cancel(tenant, chatId, turnId).catch(() => {});
      throw error;
    });
    if (begun) {
      if (typeof begun.agentId === "string") tenant.log.fields.agentId = begun.agentId;
      const user = { message_id: message.message_id, seq: begun.seq };
      return { turnId, content, isKeyed: key !== undefined, user };
    }
    const found = await findObstacle(tenant, chatId, key);
    if (found.kind === "sent") return replayOf(await chatForReplay(context, found.turnId), found.turnId);
    await clearObstacle(found, context);
  }
  throw chatBusy(undefined, new Date());
}

/**
 * Removes what stands in the way of a turn, where that can be done, and throws what the client is told where it cannot.
 */
async function clearObstacle(found: Exclude<Obstacle, { kind: "sent" }>, context: SendContext): Promise<void> {
  const { deadline } = context;
  switch (found.kind) {
    case "missing":
      throw new ApiError("CHAT_NOT_FOUND");
    case "key reused":
      throw new ApiError("IDEMPOTENCY_KEY_REUSED");
    case "open turn": {
      const isLeased = isLive(found.turn, found.now);
      if (isLeased || (await settle(context, { signal: deadline.callSignal() })).openTurn)
        throw chatBusy(found.turn, found.now);
      return;
    }
    case "ended":
      throw new ApiError("CHAT_ENDED");
    case "not imported":
      return importLegacyChat(context, "MESSAGE_SEND_FAILED", deadline.callSignal());
    case "full":
      throw new ApiError("PAYLOAD_TOO_LARGE", { message: "The chat is full; start a new one" });
    case "none":
  }
}

/**
 * Sends a begun turn to Retell and stores how it came out: the reply, or that Retell never got it, or that nobody knows
 * yet. A send is never repeated.
 */
async function callRetell(context: SendContext, turn: BegunTurn): Promise<Outcome> {
  const { tenant, chatId, retell, deadline } = context;
  const { turnId, isKeyed } = turn;
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
    finish(context, turnId, entries, { isEndPending, ...(mayBeOver ? { waitMs: endedChatMs } : {}) }),
    mayBeOver ? readFinalHistory(context) : undefined,
  ]);
  // Another request has settled it: what is stored of it is the answer.
  if (!finished) return settledOutcome(await chats.get(tenant, chatId).catch(() => null), turnId);

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
    if (deadline.leftMs > minSettleMs) {
      settled = await settle(context, { signal: deadline.answerSignal(), bypassBreaker: isRefused });
    }
  } catch (failure) {
    tenant.log.warn("A turn could not be settled at once", failure, { turnId });
  }
  // The history cannot be read: the turn stays open, and the next reader decides.
  if (isRefused && (!settled || settled.openTurn)) throw error;
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
