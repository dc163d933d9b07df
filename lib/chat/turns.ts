import { config } from "../config.ts";
import { ApiError, type ErrorCode } from "../errors.ts";
import type { Idempotency } from "../idempotency.ts";
import { isUnreachable } from "../mongo.ts";
import { type Entry, type History, type RetellClient, RetellError } from "../retell/client.ts";
import type { Deadline } from "../route.ts";
import type { Tenant } from "../tenant.ts";
import * as cache from "./cache.ts";
import { compose, isLive, isUser, type ReadChat, stored, type Turn, visible } from "./document.ts";
import { reconcile } from "./reconcile.ts";
import type { ChatStatus, Message } from "./schema.ts";
import { chats, type Ending, isPlain, userMessage } from "./store.ts";

/** One chat of a tenant, and what it takes to speak of it with Retell. */
export interface Place {
  tenant: Tenant;
  chatId: string;
  retell: RetellClient;
  deadline: Deadline;
}

/** A turn that has begun: the user's message is stored, and the chat is ours until it is finished or failed. */
interface BegunTurn {
  turnId: string;
  content: string;
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

/** A chat after settling. */
export interface Settled {
  chat: ReadChat;
  /** A turn is still open: `live`, its sender may be alive; `unknown`, Retell has not told yet. */
  open: "live" | "unknown" | undefined;
  /** Why Retell could not be asked: then `chat` is what we knew. */
  failure: RetellError | undefined;
}

/** A history that shows the chat as over, and the turn in which the agent ended it, if that is known. */
export type Final = History & { endedIn?: string };

/** Retell finishes before it answers a 500, but its history may lag. */
const finishedMs = 15_000;
const rounds = 3;
const leaseMs = () => config().TURN_LEASE_SECONDS * 1_000;
const settleMs = () => config().TURN_SETTLE_SECONDS * 1_000;

/**
 * Sends what the user says, once, and returns what the agent answers. It is stored before it is sent, and before it is
 * answered. With a key that was used before, the outcome of that send is returned.
 *
 * @throws CHAT_NOT_FOUND, CHAT_BUSY, CHAT_ENDED, PAYLOAD_TOO_LARGE (the chat is full), IDEMPOTENCY_KEY_REUSED;
 *         MESSAGE_SEND_FAILED, as a 504 with `details.outcome: "unknown"` when it may still arrive
 */
export async function send(place: Place, content: string, idempotency: Idempotency | undefined): Promise<Sent> {
  const begun = await begin(place, content, idempotency);
  if ("isReplay" in begun) return begun;
  return { ...(await carry(place, begun)), user: begun.user, isReplay: false };
}

/** Stores what the user says and takes the chat's one turn. What a dead sender left open is settled first. */
async function begin(place: Place, content: string, idempotency: Idempotency | undefined): Promise<BegunTurn | Sent> {
  const { tenant, chatId } = place;
  const turnId = crypto.randomUUID();
  const message = userMessage(content, turnId, idempotency);

  for (let round = 0; round < rounds; round++) {
    const begun = await chats.begin(tenant, chatId, turnId, message, leaseMs());
    if (begun) return { turnId, content, user: { message_id: message.message_id, seq: begun.seq } };

    const obstacle = await chats.obstacle(tenant, chatId, idempotency?.id);
    if (!obstacle) throw new ApiError("CHAT_NOT_FOUND");
    const { turn, chat_status, isAdopted, isFull, earlier, now } = obstacle;
    if (earlier && earlier.internal?.hash !== idempotency?.hash) throw new ApiError("IDEMPOTENCY_KEY_REUSED");
    if (earlier?.internal?.turn && earlier.internal.turn !== turn?.id) {
      return replay(await found(tenant, chatId), earlier.internal.turn);
    }
    if (turn) {
      if (isLive(turn, now, leaseMs()) || (await settle(place)).open) throw busy(turn, now);
    } else if (chat_status !== "ongoing") throw new ApiError("CHAT_ENDED");
    else if (!isAdopted) await adopt(place, "MESSAGE_SEND_FAILED");
    else if (isFull) throw new ApiError("PAYLOAD_TOO_LARGE", { message: "The chat is full; start a new one" });
    // else it was busy a moment ago
  }
  throw busy(undefined, new Date());
}

/** The outcome of an earlier send, as it was told then. */
function replay(chat: ReadChat, turnId: string): Sent {
  const { messages, chat_status } = outcomeOf(chat, turnId);
  const user = visible(chat, false).find(
    ({ seq }) => chat.messages[seq - 1 + (chat.internal?.base ?? 0)]?.internal?.turn === turnId,
  );
  if (!user?.message_id) throw new Error("A settled turn has its user message");
  const status = chat.internal?.endedIn === turnId ? chat_status : "ongoing";
  return { messages, chat_status: status, user: { message_id: user.message_id, seq: user.seq }, isReplay: true };
}

/**
 * Sends a begun turn to Retell and stores how it came out: the reply, or that Retell never got it, or that nobody
 * knows yet. A send is never repeated.
 */
async function carry(place: Place, turn: BegunTurn): Promise<Outcome> {
  const { tenant, chatId, retell, deadline } = place;
  let reply: Entry[];
  try {
    reply = await retell.reply(chatId, turn.content, deadline.call());
  } catch (error) {
    if (!(error instanceof RetellError)) throw error;
    return unanswered(place, turn, error);
  }

  const entries = reply.filter((entry) => !isUser(entry)).map((entry) => stored(entry, turn.turnId));
  // The answer of a completion has no status. An agent that does more than talk may have ended the chat.
  const maybeOver = !entries.some(({ role }) => role === "agent") || !entries.every(isPlain);
  const [firstSeq, final] = await Promise.all([
    finish(place, turn, entries),
    maybeOver ? finalHistory(place) : undefined,
  ]);
  if (firstSeq === null) return stand(turn, await chats.get(tenant, chatId));

  const messages = visible({ messages: entries }, false).map((message) => ({
    ...message,
    seq: message.seq + firstSeq - 1,
  }));
  if (!final) return { messages, chat_status: "ongoing" };
  const { chat } = await settle(place, { ...final, endedIn: turn.turnId });
  return { messages, chat_status: chat.chat_status };
}

/**
 * Makes our copy of a chat agree with Retell's history, and decides an open turn where that can be said. Anybody may
 * do it, at any time, any number at once: each write names the revision that it was decided on.
 *
 * @param given A history that shows the chat as over: nothing can come after it, so it need not be read again.
 * @param seen  The chat as the caller has just read it, to save reading it again.
 * @throws CHAT_NOT_FOUND
 */
export async function settle(place: Place, given?: Final, seen?: ReadChat): Promise<Settled> {
  const { tenant, chatId } = place;
  let failure: RetellError | undefined;
  for (let round = 0; round < rounds; round++) {
    const chat = (round === 0 && seen) || (await found(tenant, chatId));
    if (!chat.internal && chat.chat_status === "ongoing") {
      // An old chat that cannot be adopted now is shown as it is.
      failure = await adopt(place, "CHAT_RETRIEVE_FAILED", given).then(
        () => undefined,
        (error) => (error instanceof RetellError ? error : Promise.reject(error)),
      );
      if (failure) return { chat, open: undefined, failure };
      continue;
    }
    const turn = chat.internal?.turn;
    if (isLive(turn, chat.now, leaseMs())) return { chat, open: "live", failure: undefined };

    // Retell's history is read after our copy: what it lacks, it lacked when we knew of it.
    const history = given ?? (await place.retell.retrieve(chatId, place.deadline.answer()).catch(asFailure));
    failure = history instanceof RetellError ? history : undefined;
    // 4xx: it has no such chat (any more), which tells nothing, but tells it for good.
    if (failure && failure.failure !== "refused") {
      return { chat, open: turn && "unknown", failure };
    }
    const known = history instanceof RetellError ? undefined : history;
    // An old chat that ended under the old server keeps the messages that it has.
    const settled = await (chat.internal ? agree(place, chat, known) : close(tenant, chat, known));
    if (settled) return { ...settled, failure };
  }
  // Somebody else is at work on the same chat, again and again: what they leave is as good.
  const chat = await found(tenant, chatId);
  return { chat, open: chat.internal?.turn && "unknown", failure };
}

/** @throws CHAT_NOT_FOUND, also for another tenant's chat. */
export async function found(tenant: Tenant, chatId: string): Promise<ReadChat> {
  const chat = await chats.get(tenant, chatId);
  if (!chat) throw new ApiError("CHAT_NOT_FOUND");
  return chat;
}

/** Takes one step after the other until both agree; undefined when the chat changed under our hands. */
async function agree(
  { tenant, chatId }: Place,
  start: ReadChat,
  history: Final | undefined,
): Promise<Omit<Settled, "failure"> | undefined> {
  let chat: ReadChat | null = start;
  while (chat) {
    const step = reconcile(chat, history, { settleMs: settleMs(), finishedMs });
    const turn: Turn | undefined = chat.internal?.turn;
    switch (step.kind) {
      case "later":
        return { chat, open: "unknown" };
      case "none":
        return close(tenant, chat, history);
      case "append":
        chat = await chats.append(tenant, chat, step.entries, step.heard);
        break;
      case "front":
        chat = await chats.prepend(tenant, chat, step.entries);
        break;
      case "fail":
        tenant.log.warn("A turn has failed", undefined, { turnId: turn?.id, reason: step.reason });
        if (turn) await chats.fail(tenant, chatId, turn.id);
        return undefined; // whoever failed it: read again
    }
  }
  return undefined;
}

/** Writes how the chat finished, if it has and if that is news; forgets what is cached of it. */
async function close(
  tenant: Tenant,
  chat: ReadChat,
  history: Final | undefined,
): Promise<Omit<Settled, "failure"> | undefined> {
  const ending = history && endingOf(chat, history);
  if (!ending) return { chat, open: undefined };
  const closed = await chats.close(tenant, chat, ending);
  if (!closed) return undefined;
  const { subaccountId } = tenant;
  await cache.forget([cache.listEntry(subaccountId), cache.chatEntry(subaccountId, chat.chat_id)], tenant.log);
  return { chat: closed, open: undefined };
}

/** What the history says of the end and we do not have yet; undefined when there is nothing. What is stored only grows. */
function endingOf(chat: ReadChat, history: Final): Ending | undefined {
  if (history.chat_status === "ongoing") return undefined;
  const isNews = chat.chat_status === "ongoing";
  const ending: Ending = {
    ...(isNews ? { chat_status: history.chat_status } : {}),
    ...(isNews && history.endedIn ? { "internal.endedIn": history.endedIn } : {}),
    ...(chat.end_timestamp === null ? { end_timestamp: history.end_timestamp ?? Date.now() } : {}),
    ...(chat.endedAt ? {} : { endedAt: new Date(history.end_timestamp ?? Date.now()) }),
    ...(isNews ? { transcript: history.transcript || compose(chat.messages) } : {}),
    ...news("chat_cost", chat.chat_cost, history.chat_cost),
    ...news("chat_analysis", chat.chat_analysis, history.chat_analysis),
    ...(isNews && history.collected_dynamic_variables
      ? { collected_dynamic_variables: history.collected_dynamic_variables }
      : {}),
  };
  return Object.keys(ending).length > 0 ? ending : undefined;
}

function news<Name extends "chat_cost" | "chat_analysis">(name: Name, ours: unknown, theirs: unknown): Ending {
  return theirs && JSON.stringify(ours) !== JSON.stringify(theirs) ? { [name]: theirs } : {};
}

/** ADOPT: gives a chat of the old server, which kept only the last turn's messages, Retell's whole history. */
async function adopt({ tenant, chatId, retell, deadline }: Place, code: ErrorCode, given?: History): Promise<void> {
  const history = given ?? (await retell.retrieve(chatId, deadline.answer()).catch(asFailure));
  if (history instanceof RetellError && history.failure !== "refused") {
    throw new RetellError(code, history.failure, history);
  }
  const chat = await found(tenant, chatId);
  const theirs = history instanceof RetellError ? undefined : history.message_with_tool_calls;
  const entries = theirs && theirs.length >= chat.messages.length ? theirs : chat.messages;
  const messages = entries.map((entry) => stored(entry));
  await chats.adopt(tenant, chatId, messages, messages.filter(isUser).length);
}

/** Retell did not take it, or did not say. */
async function unanswered(place: Place, turn: BegunTurn, error: RetellError): Promise<Outcome> {
  const { tenant, chatId, deadline } = place;
  if (["unsent", "account", "limited"].includes(error.failure)) {
    await chats.fail(tenant, chatId, turn.turnId);
    throw error;
  }

  await chats.mark(tenant, chatId, turn.turnId, {
    ...(error.failure === "refused" ? { answered: true } : {}),
    ...(error.failure === "failed" ? { finished: true } : {}),
  });
  if (deadline.leftMs < 2_000) throw unknown(turn, error);
  const { chat } = await settle(place);
  return stand(turn, chat, error);
}

/** How a turn that somebody settled came out, by what is stored of it. */
function stand(turn: BegunTurn, chat: ReadChat | null, cause?: RetellError): Outcome {
  const own = chat?.messages.find(({ internal, role }) => role === "user" && internal?.turn === turn.turnId);
  if (!chat || !own || chat.internal?.turn?.id === turn.turnId) throw unknown(turn, cause);
  if (own.internal?.failed) {
    if (chat.chat_status !== "ongoing") throw new ApiError("CHAT_ENDED", { cause });
    throw cause ?? new ApiError("MESSAGE_SEND_FAILED");
  }
  return outcomeOf(chat, turn.turnId);
}

/** The agent's messages of a turn, as clients see them. */
function outcomeOf(chat: ReadChat, turnId: string): Outcome {
  const base = chat.internal?.base ?? 0;
  const messages = visible(chat, false).filter(
    ({ role, seq }) => role === "agent" && chat.messages[seq - 1 + base]?.internal?.turn === turnId,
  );
  return { messages, chat_status: chat.chat_status };
}

/**
 * FINISH, until our time is over: Retell has the message, so what it said must not be lost to a moment without Mongo.
 * After that the turn stays open, and whoever comes next finds the reply in Retell's history.
 */
async function finish({ tenant, chatId, deadline }: Place, turn: BegunTurn, entries: ReturnType<typeof stored>[]) {
  for (;;) {
    try {
      return await chats.finish(tenant, chatId, turn.turnId, entries);
    } catch (error) {
      if (!isUnreachable(error) || deadline.leftMs < 3_000) throw unknown(turn, error);
      tenant.log.warn("A reply could not be stored yet", error, { turnId: turn.turnId });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** Retell's history if it shows the chat as over. A read that fails is left to the next one. */
async function finalHistory({ tenant, chatId, retell, deadline }: Place): Promise<History | undefined> {
  try {
    const history = await retell.retrieve(chatId, deadline.answer());
    return history.chat_status === "ongoing" ? undefined : history;
  } catch (error) {
    tenant.log.warn("Status not read after a turn that may have ended the chat", error);
    return undefined;
  }
}

/** @throws CHAT_BUSY while a turn is in the hands of a sender that may be alive. */
export function refuseLive({ internal, now }: ReadChat): void {
  if (internal?.turn && isLive(internal.turn, now, leaseMs())) throw busy(internal.turn, now);
}

function busy(turn: Turn | undefined, now: Date): ApiError {
  const ageMs = turn ? now.getTime() - turn.at.getTime() : 0;
  // A live turn is over in seconds. An unknown one is asked after less and less often.
  const retryAfter = turn?.state === "unknown" ? Math.min(60, Math.max(5, Math.round(ageMs / 4_000))) : 2;
  return new ApiError("CHAT_BUSY", { retryAfter });
}

function unknown(turn: BegunTurn, cause: unknown): ApiError {
  return new ApiError("MESSAGE_SEND_FAILED", {
    status: 504,
    message: "The agent has not answered in time; the message may still arrive",
    details: { outcome: "unknown", turnId: turn.turnId },
    cause,
  });
}

/** Turns a failed call into a value; anything else is not ours to handle. */
function asFailure(error: unknown): RetellError {
  if (error instanceof RetellError) return error;
  throw error;
}
