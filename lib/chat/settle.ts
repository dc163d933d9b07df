import type { TenantContext } from "../access/tenant.ts";
import { config } from "../platform/config.ts";
import { isTooLarge } from "../platform/mongo.ts";
import { asFailure, RetellError } from "../retell/errors.ts";
import type { ChatContext } from "./context.ts";
import { close, type Final, forgetOver } from "./ending.ts";
import { importHistory, tellOverflow } from "./legacy.ts";
import { isImported, isLive, needsImport, type ReadChat, type StoredMessage, type Turn } from "./model.ts";
import { reconcile, type Step } from "./reconcile.ts";
import { shorten } from "./shorten.ts";
import { fits } from "./size.ts";
import * as chats from "./store/chats.ts";
import * as settling from "./store/settling.ts";
import * as turns from "./store/turns.ts";

interface SettleOptions {
  /** Ends the reading at Retell. */
  signal: AbortSignal;
  /** A history that shows the chat as over: nothing can come after it, so it need not be read again. */
  given?: Final;
  /** The chat as the caller has just read it, to save reading it again. */
  seen?: ReadChat;
  /** The reading is made even while the account's breaker is open. */
  insists?: boolean;
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
/** MongoDB's limit, less what the other fields may still take. */
const maxDocumentBytes = 16_000_000;
const rounds = 3;

type StepOf<Kind extends Step["kind"]> = Extract<Step, { kind: Kind }>;

/** For how long a sender may be alive. */
export const leaseMs = () => config().TURN_LEASE_SECONDS * 1_000;

/** For how long absence in Retell's history proves nothing. */
export const limits = () => ({ settleMs: config().TURN_SETTLE_SECONDS * 1_000, finishedMs });

/**
 * Makes our copy of a chat agree with Retell's history, and decides an open turn where that can be said. Anybody may
 * do it, at any time, any number at once: each write names the revision that it was decided on.
 *
 * @see docs/turns.md
 * @throws CHAT_NOT_FOUND
 */
export async function settle(
  place: ChatContext,
  { signal, given, seen, insists = false }: SettleOptions,
): Promise<Settled> {
  const { tenant, chatId, retell } = place;
  let failure: RetellError | undefined;
  for (let round = 0; round < rounds; round++) {
    const chat = (round === 0 && seen) || (await chats.getOrThrow(tenant, chatId));
    const turn = chat.internal?.turn;
    if (needsImport(chat) && !isLive(turn, chat.now, leaseMs())) {
      const left = await importHistory(place, chat, signal, given);
      if (left) return left;
      continue;
    }
    if (isLive(turn, chat.now, leaseMs()) || (turn && given?.isAssumed)) {
      // Over at Retell is over here, whoever holds the turn: its sender, or the next reader, brings it to its end.
      // The answer of a turn that is running when the chat ends is the last one.
      const endedIn = given?.isAssumed || chat.internal?.endedIn ? undefined : turn?.id;
      const closed = given ? await close(tenant, chat, { ...(endedIn ? { endedIn } : {}), ...given }) : chat;
      if (!closed) continue;
      return { chat: closed, open: turn?.state === "sending" ? "live" : "unknown", failure: undefined };
    }

    // Retell's history is read after our copy: what it lacks, it lacked when we knew of it.
    const history = given ?? (await retell.retrieve(chatId, signal, { insists }).catch(asFailure));
    failure = history instanceof RetellError ? history : undefined;
    // 4xx: it has no such chat (any more), which tells nothing, but tells it for good.
    if (failure && failure.failure !== "refused") return { chat, open: turn && "unknown", failure };

    const known = history instanceof RetellError ? undefined : history;
    const settled = await agree(place, chat, known);
    if (settled) return { ...settled, failure };
  }
  // Somebody else is at work on the same chat, again and again: what they leave is as good.
  const chat = await chats.getOrThrow(tenant, chatId);
  return { chat, open: chat.internal?.turn && "unknown", failure };
}

/** Takes one step after the other until both agree; undefined when the chat changed under our hands. */
async function agree(
  { tenant, chatId }: ChatContext,
  start: ReadChat,
  history: Final | undefined,
): Promise<Omit<Settled, "failure"> | undefined> {
  const closeBy = async (seen: ReadChat): Promise<ReadChat | undefined> =>
    history ? close(tenant, seen, history) : seen;
  let chat: ReadChat | null = start;
  while (chat) {
    // An old chat that ended under the old server keeps the messages that it has.
    const step = isImported(chat) ? reconcile(chat, history, limits()) : ({ kind: "none" } as const);
    const turn: Turn | undefined = chat.internal?.turn;
    switch (step.kind) {
      case "later": {
        // The chat is over at Retell, and over here; the turn is decided later.
        const closed = await closeBy(chat);
        return closed && { chat: closed, open: "unknown" };
      }
      case "none": {
        const closed = await closeBy(chat);
        return closed && { chat: closed, open: undefined };
      }
      case "append":
        // Retell's history alone is too large for a document: it is shown, and not stored.
        if (!turn && !fits(chat, history?.message_with_tool_calls ?? [])) {
          await tellOverflow(tenant, chat);
          const closed = await closeBy(chat);
          const messages = [...chat.messages, ...step.entries];
          return closed && { chat: { ...closed, messages }, open: undefined };
        }
        chat = await append(tenant, chat, step);
        if (chat && turn) tellOf(tenant, chatId, turn, "delivered");
        break;
      case "correct":
        chat = await correct(tenant, chat, step);
        break;
      case "front":
        chat = await settling.prepend(tenant, chat, step.entries);
        break;
      case "fail":
        if (turn) await fail(tenant, chat, turn, step);
        await forgetOver(tenant, chat);
        return undefined; // whoever failed it: read again
    }
    if (chat) await forgetOver(tenant, chat);
  }
  return undefined;
}

/** What is too large for the document beside what it holds is stored shortened. */
async function append(tenant: TenantContext, chat: ReadChat, step: StepOf<"append">): Promise<ReadChat | null> {
  const endedIn = chat.internal?.endedIn ?? step.lastTurn; // what a client was told of stays
  const write = (entries: StoredMessage[]) => settling.append(tenant, chat, entries, step.retellUserCount, endedIn);
  try {
    return await write(step.entries);
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    const budget = maxDocumentBytes - (await chats.sizeOf(tenant, chat.chat_id));
    tenant.log.warn("Entries of Retell were stored shortened: the chat is too large", undefined, {
      chatId: chat.chat_id,
    });
    return write(shorten(step.entries, Math.max(0, budget)));
  }
}

/** A text that does not fit is left as it is, and marked, so that it is not tried again. */
async function correct(
  tenant: TenantContext,
  chat: ReadChat,
  { index, content }: StepOf<"correct">,
): Promise<ReadChat | null> {
  try {
    return await settling.correct(tenant, chat, index, { content });
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    return settling.correct(tenant, chat, index, { "internal.shortened": true });
  }
}

async function fail(
  tenant: TenantContext,
  chat: ReadChat,
  turn: Turn,
  { reason, mayArrive }: StepOf<"fail">,
): Promise<void> {
  const why = { mayArrive, sentAt: turn.at.getTime(), undecided: reason === "undecided" };
  if (await turns.fail(tenant, chat.chat_id, turn.id, why, chat)) tellOf(tenant, chat.chat_id, turn, reason);
}

/**
 * Logged under the operationId of the send itself, so that a search for it does not end at its 504. A request that settles
 * its own turn has a line of its own.
 */
function tellOf({ log }: TenantContext, chatId: string, turn: Turn, outcome: string): void {
  if (outcome === "delivered") log.metrics.add("MessagesSent");
  const settledBy = log.fields.operationId;
  if (settledBy === turn.operationId) return;
  log.info("Turn settled", { operationId: turn.operationId, chatId, turnId: turn.id, outcome, settledBy });
}
