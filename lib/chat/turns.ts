import { ApiError } from "../errors.ts";
import type { Idempotency } from "../idempotency.ts";
import { isUnreachable } from "../mongo.ts";
import { RetellError } from "../retell/client.ts";
import type { Entry } from "../retell/schema.ts";
import type { Deadline } from "../route.ts";
import { isLive, isUser, type ReadChat, type StoredMessage, stored, type Turn, visible } from "./document.ts";
import { type Final, forgetOver } from "./ending.ts";
import { adopt } from "./legacy.ts";
import { found, type Place } from "./place.ts";
import type { ChatStatus, Message } from "./schema.ts";
import { leaseMs, type Settled, settle } from "./settle.ts";
import { maxReplyBytes, shorten } from "./shorten.ts";
import { chats, isPlain, userMessage } from "./store.ts";

/** Where a send goes, and until when. */
type Send = Place & { deadline: Deadline };

/** A turn that has begun: the user's message is stored, and the chat is ours until it is finished or failed. */
interface BegunTurn {
  turnId: string;
  content: string;
  /** It may be repeated with its key, and is then told what the first answer told. */
  isKeyed: boolean;
  user: { message_id: string; seq: number };
}

/** How a turn came out. */
interface Outcome {
  /** The agent's, in order. */
  messages: Message[];
  chat_status: ChatStatus;
}

/** What a send has come to. */
export interface Sent extends Outcome {
  user: { message_id: string; seq: number };
  /** It was sent by an earlier request with the same Idempotency-Key. */
  isReplay: boolean;
}

const rounds = 3;
/** A turn that begins later has no time for Retell: better not begun than unknown. */
const leastCallMs = 2_000;
/** How long a reply waits for the news that the agent has ended the chat. */
const statusMs = 3_000;
/** How long a repeat waits for its first request to find out whether the chat is over. */
const tellingMs = statusMs + 1_000;

/**
 * Sends what the user says, once, and returns what the agent answers. It is stored before it is sent, and before it is
 * answered. With a key that was used before, the outcome of that send is returned.
 *
 * @see docs/turns.md
 * @throws CHAT_NOT_FOUND, CHAT_BUSY, CHAT_ENDED, PAYLOAD_TOO_LARGE (the chat is full), IDEMPOTENCY_KEY_REUSED;
 *         MESSAGE_SEND_FAILED, as a 504 with `details.outcome: "unknown"` when it may still arrive
 */
export async function send(place: Send, content: string, idempotency: Idempotency | undefined): Promise<Sent> {
  const { fields, metrics } = place.tenant.log;
  const begun = await begin(place, content, idempotency);
  if ("isReplay" in begun) {
    fields.turn = "replayed";
    return begun;
  }
  fields.turnId = begun.turnId;
  try {
    const outcome = await carry(place, begun);
    fields.turn = "delivered";
    return { ...outcome, user: begun.user, isReplay: false };
  } catch (error) {
    fields.turn = isOpen(error) ? "unknown" : "failed";
    if (isOpen(error)) metrics.add("UnknownTurns");
    throw error;
  }
}

/** Whether a turn that came to this error is left to whoever comes next. */
function isOpen(error: unknown): boolean {
  return !(error instanceof ApiError) || error.details?.outcome === "unknown" || isUnreachable(error);
}

/** @throws CHAT_BUSY while a turn is in the hands of a sender that may be alive. */
export function refuseLive({ internal, now }: ReadChat): void {
  if (internal?.turn && isLive(internal.turn, now, leaseMs())) throw busy(internal.turn, now);
}

/** Stores what the user says and takes the chat's one turn. What a dead sender left open is settled first. */
async function begin(place: Send, content: string, idempotency: Idempotency | undefined): Promise<BegunTurn | Sent> {
  const { tenant, chatId, deadline } = place;
  const turnId = crypto.randomUUID();
  const operationId = String(tenant.log.fields.operationId);
  const message = userMessage(content, turnId, idempotency);

  for (let round = 0; round < rounds; round++) {
    // Settling and adopting take time. Nothing has been sent.
    if (round > 0 && deadline.callAt - Date.now() < leastCallMs) throw new ApiError("TIMEOUT");
    const begun = await chats
      .begin(tenant, chatId, { id: turnId, operationId, message, leaseMs: leaseMs() })
      .catch((error) => {
        // It may have been stored and not answered, or be stored later. Nothing was sent, so nobody need wait for it.
        // Not awaited: Mongo has just kept us waiting, and where this comes to nothing the turn is settled like a dead
        // sender's.
        chats.cancel(tenant, chatId, turnId).catch(() => {});
        throw error;
      });
    if (begun) {
      if (typeof begun.agentId === "string") tenant.log.fields.agentId = begun.agentId;
      const user = { message_id: message.message_id, seq: begun.seq };
      return { turnId, content, isKeyed: idempotency !== undefined, user };
    }

    const obstacle = await chats.obstacle(tenant, chatId, idempotency?.id);
    if (!obstacle) throw new ApiError("CHAT_NOT_FOUND");
    const { turn, chat_status, isAdopted, isFull, earlier, now } = obstacle;
    if (earlier && earlier.internal?.hash !== idempotency?.hash) throw new ApiError("IDEMPOTENCY_KEY_REUSED");
    if (earlier?.internal?.turn && earlier.internal.turn !== turn?.id) {
      return replay(await toldChat(place, earlier.internal.turn), earlier.internal.turn);
    }
    if (turn) {
      const isStillOpen = isLive(turn, now, leaseMs()) || (await settle(place, { signal: deadline.call() })).open;
      if (isStillOpen) throw busy(turn, now);
    } else if (chat_status !== "ongoing") throw new ApiError("CHAT_ENDED");
    else if (!isAdopted) await adopt(place, "MESSAGE_SEND_FAILED", deadline.call());
    else if (isFull) throw new ApiError("PAYLOAD_TOO_LARGE", { message: "The chat is full; start a new one" });
    // else it was busy a moment ago
  }
  throw busy(undefined, new Date());
}

/**
 * Sends a begun turn to Retell and stores how it came out: the reply, or that Retell never got it, or that nobody
 * knows yet. A send is never repeated.
 */
async function carry(place: Send, turn: BegunTurn): Promise<Outcome> {
  const { tenant, chatId, retell, deadline } = place;
  let reply: Entry[];
  try {
    reply = await retell.reply(chatId, turn.content, deadline.call());
  } catch (error) {
    if (error instanceof RetellError) return unanswered(place, turn, error);
    await chats.fail(tenant, chatId, turn.turnId); // the key was refused and there is no other: it was not sent
    throw error;
  }

  const entries = entriesOf(reply, turn);
  // The answer of a completion has no status.
  const maybeOver = mayEnd(entries);
  const [finished, final] = await Promise.all([
    finish(place, turn, entries, maybeOver),
    maybeOver ? finalHistory(place) : undefined,
  ]);
  // Another request has settled it: what is stored of it is the answer.
  if (!finished) return settledOutcome(turn, await chats.get(tenant, chatId).catch(() => null));

  tenant.log.metrics.add("MessagesSent");
  const messages = visible({ messages: finished.entries }, false).map((message) => ({
    ...message,
    seq: message.seq + finished.seq - 1,
  }));
  const isTelling = turn.isKeyed && maybeOver;
  const chat_status = await statusAfter(place, turn, finished, { final, isTelling });
  // A repeat that comes before this note waits, and then decides the same.
  if (isTelling && chat_status === "ongoing") {
    tenant.trailing.push(chats.told(tenant, chatId, turn.turnId).catch(() => {}));
  }
  return { messages, chat_status };
}

/** Whether the agent may have ended the chat with this reply: it did more than talk. */
const mayEnd = (reply: StoredMessage[]) => !reply.some(({ role }) => role === "agent") || !reply.every(isPlain);

/** The reply of a turn as it is stored: without the user's own entry, no larger than a chat has room for. */
function entriesOf(reply: Entry[], { turnId }: BegunTurn): StoredMessage[] {
  const messages = reply.filter((entry) => !isUser(entry)).map((entry) => stored(entry, turnId));
  return shorten(messages, maxReplyBytes);
}

/**
 * The chat's status as a finished turn tells it. A repeat with its key must be told the same, so a keyed send is told that
 * the chat is over only once it is noted that the chat ended in this turn.
 *
 * @throws MESSAGE_SEND_FAILED with `details.outcome: "unknown"` when that could not be noted for a keyed send
 */
async function statusAfter(
  place: Send,
  { turnId, isKeyed }: BegunTurn,
  finished: { chat_status: ChatStatus; endedIn?: string | undefined },
  { final, isTelling }: { final: Final | undefined; isTelling: boolean },
): Promise<ChatStatus> {
  const { tenant, chatId, deadline } = place;
  const isOver = finished.chat_status !== "ongoing";
  const status = isOver ? finished.chat_status : (final?.chat_status ?? "ongoing");
  if (status === "ongoing") return status;
  try {
    let { endedIn } = finished;
    if (isOver) await forgetOver(tenant, { chat_id: chatId, chat_status: status });
    else if (final) {
      const settled = await settle(place, { given: { ...final, endedIn: turnId }, signal: deadline.answer() });
      endedIn = settled.chat.internal?.endedIn;
    }
    if (!isOver && (!isKeyed || endedIn === turnId)) return status;
    // Another request stored the end.
    const isNoted = await chats.endedIn(tenant, chatId, turnId, isTelling);
    return isNoted || !isKeyed ? status : "ongoing";
  } catch (error) {
    // The reply is stored, and the next reader closes the chat.
    tenant.log.warn("The chat's end was not stored yet", error);
    // Whether a repeat will be told of the end cannot be said now.
    if (isKeyed && finished.endedIn !== turnId) throw unknown({ turnId }, error);
    return status;
  }
}

/**
 * Retell refused the message, or did not say. Only a message that was surely not sent has failed at once. A refusal may
 * come after the message was taken, so the history is read, also past the account's breaker, and decides.
 */
async function unanswered(place: Send, turn: BegunTurn, error: RetellError): Promise<Outcome> {
  const { tenant, chatId, deadline } = place;
  if (error.failure === "unsent") {
    await chats.fail(tenant, chatId, turn.turnId);
    throw error;
  }

  const isRefused = ["account", "limited", "refused"].includes(error.failure);
  let settled: Settled | undefined;
  try {
    await chats.mark(tenant, chatId, turn.turnId, {
      ...(isRefused ? { answered: true } : {}),
      ...(error.failure === "failed" ? { finished: true } : {}),
    });
    if (deadline.leftMs > 2_000) settled = await settle(place, { signal: deadline.answer(), insists: isRefused });
  } catch (failure) {
    tenant.log.warn("A turn could not be settled at once", failure, { turnId: turn.turnId });
  }
  // The history cannot be read: the turn stays open, and the next reader decides.
  if (isRefused && (!settled || settled.open)) throw error;
  return settledOutcome(turn, settled?.chat ?? null, error);
}

/** How a turn came out, by what is stored of it; without a chat, or with the turn still open, nobody knows. */
function settledOutcome(turn: BegunTurn, chat: ReadChat | null, cause?: RetellError): Outcome {
  // Of a message that failed and that Retell had after all, the latter.
  const own = chat?.messages.findLast(({ internal, role }) => role === "user" && internal?.turn === turn.turnId);
  if (!chat || !own || chat.internal?.turn?.id === turn.turnId) throw unknown(turn, cause);
  if (!own.internal?.failed) return outcomeOf(chat, turn.turnId);
  if (own.internal.undecided) throw undecided(turn.turnId);
  if (chat.chat_status !== "ongoing") throw new ApiError("CHAT_ENDED", { cause });
  throw cause ?? new ApiError("MESSAGE_SEND_FAILED");
}

/**
 * The chat for a repeat. Its first request may be finding out at this moment whether the agent has ended the chat in this
 * turn, and is waited for. If it died, or takes too long, neither tells of an end.
 */
async function toldChat({ tenant, chatId, deadline }: Send, turnId: string): Promise<ReadChat> {
  const until = Date.now() + Math.min(tellingMs, deadline.leftMs - 3_000);
  for (;;) {
    const chat = await found(tenant, chatId);
    const { endedIn, telling } = chat.internal ?? {};
    if (endedIn === turnId || !telling?.includes(turnId)) return chat;
    if (Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 200));
    else await chats.told(tenant, chatId, turnId);
  }
}

/**
 * The outcome of an earlier send, as it was told then.
 *
 * @throws MESSAGE_SEND_FAILED with `details.outcome: "undecided"` when nobody can say whether it was delivered
 */
function replay(chat: ReadChat, turnId: string): Sent {
  const [user] = turnOf(chat, turnId).filter(isUser);
  if (!user?.message_id) throw new Error("A settled turn without its user message");
  if (user.delivery === "failed") throw undecided(turnId);
  return { ...outcomeOf(chat, turnId), user: { message_id: user.message_id, seq: user.seq }, isReplay: true };
}

/** What is stored of a turn. Only the turn in which the agent ended the chat tells of the end. */
function outcomeOf(chat: ReadChat, turnId: string): Outcome {
  const messages = turnOf(chat, turnId).filter(({ role }) => role === "agent");
  if (chat.internal?.endedIn !== turnId) return { messages, chat_status: "ongoing" };
  return { messages, chat_status: chat.chat_status === "ongoing" ? "ended" : chat.chat_status };
}

/** The messages of a turn, as clients see them. */
function turnOf(chat: ReadChat, turnId: string): Message[] {
  const base = chat.internal?.base ?? 0;
  return visible(chat, false).filter(({ seq }) => chat.messages[seq - 1 + base]?.internal?.turn === turnId);
}

/**
 * FINISH, until our time is over: Retell has the message, so what it said must not be lost to a moment without Mongo.
 * After that the turn stays open, and whoever comes next finds the reply in Retell's history.
 */
async function finish(
  { tenant, chatId, deadline }: Send,
  turn: BegunTurn,
  entries: StoredMessage[],
  maybeOver: boolean,
) {
  // Should we die before its end is stored, the sweep looks soon.
  const how = { isTelling: turn.isKeyed && maybeOver, ...(maybeOver ? { lookMs: 60_000 } : {}) };
  let first: unknown;
  let fresh = entries;
  for (;;) {
    try {
      const finished = await chats.finish(tenant, chatId, turn.turnId, fresh, how);
      if (finished) return { ...finished, entries: fresh };
      // A read may have stored one of these entries as the late word of an earlier turn.
      const chat = await chats.get(tenant, chatId);
      if (chat?.internal?.turn?.id !== turn.turnId) return null;
      const ids = new Set(chat.messages.map(({ message_id }) => message_id));
      fresh = fresh.filter(({ message_id }) => !ids.has(message_id));
    } catch (error) {
      if (!isUnreachable(error) || deadline.leftMs < 3_000) throw unknown(turn, error);
      first ??= error; // one warning, however often it is tried
      tenant.log.warn("A reply could not be stored yet", first, { turnId: turn.turnId });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** Retell's history if it shows the chat as over. A read that fails, or keeps the reply waiting, is left to the next one. */
async function finalHistory({ tenant, chatId, retell, deadline }: Send): Promise<Final | undefined> {
  try {
    const signal = AbortSignal.any([deadline.answer(), AbortSignal.timeout(statusMs)]);
    const history = await retell.retrieve(chatId, signal);
    return history.chat_status === "ongoing" ? undefined : history;
  } catch (error) {
    tenant.log.warn("Status not read after a turn that may have ended the chat", error);
    return undefined;
  }
}

function busy(turn: Turn | undefined, now: Date): ApiError {
  // A live turn is over in seconds. An open one whose sender is gone is asked after less and less often.
  const isWaiting = turn && !isLive(turn, now, leaseMs());
  const ageMs = turn ? now.getTime() - turn.at.getTime() : 0;
  return new ApiError("CHAT_BUSY", {
    retryAfter: isWaiting ? Math.min(60, Math.max(5, Math.round(ageMs / 4_000))) : 2,
  });
}

/** Final: a repeat is told the same, and sends nothing. */
function undecided(turnId: string): ApiError {
  return new ApiError("MESSAGE_SEND_FAILED", {
    status: 504,
    message: "Others spoke in this chat, and it cannot be decided whether the agent got this message",
    details: { outcome: "undecided", turnId },
  });
}

function unknown(turn: Pick<BegunTurn, "turnId">, cause: unknown): ApiError {
  return new ApiError("MESSAGE_SEND_FAILED", {
    status: 504,
    message: "The agent has not answered in time; the message may still arrive",
    details: { outcome: "unknown", turnId: turn.turnId },
    cause,
  });
}
