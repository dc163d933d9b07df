import { config } from "../config.ts";
import { ApiError, type ErrorCode } from "../errors.ts";
import { asFailure, type RetellClient, RetellError } from "../retell/client.ts";
import type { History } from "../retell/schema.ts";
import type { Tenant } from "../tenant.ts";
import * as cache from "./cache.ts";
import { asText, countOf, isLive, isUser, type ReadChat, stored, type Turn } from "./document.ts";
import { reconcile } from "./reconcile.ts";
import { chats, type Ending } from "./store.ts";

/** One chat of a tenant, and the Retell that knows it. */
export interface Place {
  tenant: Tenant;
  chatId: string;
  retell: RetellClient;
}

/** A history that shows the chat as over. */
export interface Final extends History {
  /** The turn in which the agent ended the chat, if that is known. */
  endedIn?: string;
  /** Nobody has read it: Retell has ended the chat, and that is all we know. It proves nothing about a turn. */
  isAssumed?: true;
}

interface SettleOptions {
  /** Ends the reading at Retell. */
  signal: AbortSignal;
  /** A history that shows the chat as over: nothing can come after it, so it need not be read again. */
  given?: Final;
  /** The chat as the caller has just read it, to save reading it again. */
  seen?: ReadChat;
}

/** A chat after settling. */
export interface Settled {
  chat: ReadChat;
  /** A turn is still open: `live`, its sender may be alive; `unknown`, Retell has not told yet. */
  open: "live" | "unknown" | undefined;
  /** Why Retell could not be asked: then `chat` is what we knew. */
  failure: RetellError | undefined;
}

/** Retell finishes before it answers a 500, but its history may lag. */
export const finishedMs = 15_000;
/** Beside the messages in one document of 16 MB. A longer text is composed whenever it is read. */
const maxTranscriptBytes = 3_500_000;
const rounds = 3;

/** For how long a sender may be alive. */
export const leaseMs = () => config().TURN_LEASE_SECONDS * 1_000;

/** @throws CHAT_NOT_FOUND, also for another tenant's chat. */
export async function found(tenant: Tenant, chatId: string): Promise<ReadChat> {
  const chat = await chats.get(tenant, chatId);
  if (!chat) throw new ApiError("CHAT_NOT_FOUND");
  tenant.log.fields.agentId = chat.agent_id;
  return chat;
}

/**
 * Makes our copy of a chat agree with Retell's history, and decides an open turn where that can be said. Anybody may
 * do it, at any time, any number at once: each write names the revision that it was decided on.
 *
 * @see docs/turns.md
 * @throws CHAT_NOT_FOUND
 */
export async function settle(place: Place, { signal, given, seen }: SettleOptions): Promise<Settled> {
  const { tenant, chatId, retell } = place;
  let failure: RetellError | undefined;
  for (let round = 0; round < rounds; round++) {
    const chat = (round === 0 && seen) || (await found(tenant, chatId));
    const turn = chat.internal?.turn;
    if (!isAdopted(chat) && chat.chat_status === "ongoing") {
      // An old chat that cannot be adopted now is shown as it is.
      const refusal = await adopt(place, "CHAT_RETRIEVE_FAILED", signal, given).then(() => undefined, asFailure);
      if (refusal) return { chat, open: undefined, failure: refusal };
      continue;
    }
    if (isLive(turn, chat.now, leaseMs()) || (turn && given?.isAssumed)) {
      // Over at Retell is over here, whoever holds the turn: its sender, or the next reader, brings it to its end.
      const closed = given ? await close(tenant, chat, given) : chat;
      if (!closed) continue;
      return { chat: closed, open: turn?.state === "sending" ? "live" : "unknown", failure: undefined };
    }

    // Retell's history is read after our copy: what it lacks, it lacked when we knew of it.
    const history = given ?? (await retell.retrieve(chatId, signal).catch(asFailure));
    failure = history instanceof RetellError ? history : undefined;
    // 4xx: it has no such chat (any more), which tells nothing, but tells it for good.
    if (failure && failure.failure !== "refused") return { chat, open: turn && "unknown", failure };

    const known = history instanceof RetellError ? undefined : history;
    const settled = await agree(place, chat, known);
    if (settled) return { ...settled, failure };
  }
  // Somebody else is at work on the same chat, again and again: what they leave is as good.
  const chat = await found(tenant, chatId);
  return { chat, open: chat.internal?.turn && "unknown", failure };
}

/**
 * ADOPT: gives a chat of the old server, which kept only the last turn's messages, Retell's whole history.
 *
 * @throws RetellError of the given code when Retell does not answer
 */
export async function adopt(place: Place, code: ErrorCode, signal: AbortSignal, given?: History): Promise<void> {
  const { tenant, chatId, retell } = place;
  const history = given ?? (await retell.retrieve(chatId, signal).catch(asFailure));
  if (history instanceof RetellError && history.failure !== "refused") {
    throw new RetellError(code, history.failure, history);
  }
  const chat = await found(tenant, chatId);
  const theirs = history instanceof RetellError ? undefined : history.message_with_tool_calls;
  const entries = theirs && theirs.length >= chat.messages.length ? theirs : chat.messages;
  const messages = entries.map((entry) => stored(entry));
  await chats.adopt(tenant, chatId, messages, messages.filter(isUser).length);
}

/** Takes one step after the other until both agree; undefined when the chat changed under our hands. */
async function agree(
  { tenant, chatId }: Place,
  start: ReadChat,
  history: Final | undefined,
): Promise<Omit<Settled, "failure"> | undefined> {
  let chat: ReadChat | null = start;
  while (chat) {
    // An old chat that ended under the old server keeps the messages that it has.
    const limits = { settleMs: config().TURN_SETTLE_SECONDS * 1_000, finishedMs };
    const step = isAdopted(chat) ? reconcile(chat, history, limits) : ({ kind: "none" } as const);
    const turn: Turn | undefined = chat.internal?.turn;
    switch (step.kind) {
      case "later":
        return { chat, open: "unknown" };
      case "none": {
        const closed: ReadChat | undefined = history ? await close(tenant, chat, history) : chat;
        return closed && { chat: closed, open: undefined };
      }
      case "append":
        chat = await chats.append(tenant, chat, step.entries, step.heard);
        if (chat && turn) tellOf(tenant, chatId, turn, "delivered");
        break;
      case "front":
        chat = await chats.prepend(tenant, chat, step.entries);
        break;
      case "fail":
        if (turn && (await chats.fail(tenant, chatId, turn.id))) tellOf(tenant, chatId, turn, step.reason);
        await forgetOver(tenant, chat);
        return undefined; // whoever failed it: read again
    }
    if (chat) await forgetOver(tenant, chat);
  }
  return undefined;
}

/** What is cached of a chat that is over no longer holds once it changes. */
export async function forgetOver(tenant: Tenant, { chat_id, chat_status }: Pick<ReadChat, "chat_id" | "chat_status">) {
  if (chat_status === "ongoing") return;
  const { subaccountId, log } = tenant;
  await cache.forget([cache.listEntry(subaccountId), cache.chatEntry(subaccountId, chat_id)], log);
}

/** Logged under the operationId of the send itself, so that a search for it does not end at its 504. */
function tellOf({ log }: Tenant, chatId: string, turn: Turn, outcome: string): void {
  if (outcome === "delivered") log.metrics.add("MessagesSent");
  const settledBy = log.fields.operationId;
  log.info("Turn settled", { operationId: turn.operationId, chatId, turnId: turn.id, outcome, settledBy });
}

/** Writes how the chat finished, if it has and if that is news; undefined when the chat changed under our hands. */
async function close(tenant: Tenant, chat: ReadChat, history: Final): Promise<ReadChat | undefined> {
  const ending = endingOf(chat, history);
  if (!ending) return chat;
  const closed = await chats.close(tenant, chat, ending);
  if (!closed) return undefined;
  measureEnd(tenant, chat, closed);
  tellOver(tenant, chat);
  await forgetOver(tenant, closed);
  return closed;
}

/** Of a request its own line tells what it was about; the sweep has none for each chat. */
function tellOver({ log }: Tenant, before: ReadChat): void {
  if (before.chat_status === "ongoing" && log.fields.route === undefined) log.info("A chat was found over");
}

/** Each chat once: when its end, and when its cost, is news. */
function measureEnd({ log: { metrics } }: Tenant, before: ReadChat, after: ReadChat): void {
  if (before.chat_status === "ongoing") {
    const lastedMs = (after.end_timestamp ?? Date.now()) - after.start_timestamp;
    metrics.put("ChatDuration", Math.max(0, lastedMs / 1_000));
    metrics.put("MessagesPerChat", countOf(after.messages));
  }
  const cost = after.chat_cost?.combined_cost;
  if (!before.chat_cost && typeof cost === "number") metrics.put("ChatCost", cost);
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
    ...finalText(chat, history),
    ...grown(chat, history),
  };
  return Object.keys(ending).length > 0 ? ending : undefined;
}

/** The whole text, once: an open turn may still add to it. */
function finalText(chat: ReadChat, history: Final): Ending {
  if (chat.transcript !== "" || chat.internal?.turn || history.isAssumed) return {};
  const transcript = history.transcript || asText(chat.messages);
  return transcript === "" || Buffer.byteLength(transcript) > maxTranscriptBytes ? {} : { transcript };
}

/** Costs are added up, so more is later. The rest is only added to: of two values that differ nobody knows the newer. */
function grown(chat: ReadChat, history: History): Ending {
  const { chat_cost: cost } = history;
  const combined = (value: Record<string, unknown>) => Number(value.combined_cost ?? -1);
  const isMore = cost && (!chat.chat_cost || combined(cost) > combined(chat.chat_cost));
  const analysis = withMore(chat.chat_analysis, history.chat_analysis);
  const collected = withMore(chat.collected_dynamic_variables, history.collected_dynamic_variables);
  return {
    ...(isMore ? { chat_cost: cost } : {}),
    ...(analysis ? { chat_analysis: analysis } : {}),
    ...(collected ? { collected_dynamic_variables: collected } : {}),
  };
}

type Named = Record<string, unknown> | null | undefined;

/** Ours with what only theirs has; undefined when that is nothing. */
function withMore(ours: Named, theirs: Named): Record<string, unknown> | undefined {
  const isMore = Object.keys(theirs ?? {}).some((name) => !Object.hasOwn(ours ?? {}, name));
  return isMore ? { ...theirs, ...ours } : undefined;
}

/** The old server's chats have no `heard`, whatever else stands under `internal`. */
const isAdopted = ({ internal }: ReadChat) => internal?.heard !== undefined;
