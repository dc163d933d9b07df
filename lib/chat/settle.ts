import type { TenantContext } from "../access/tenant.ts";
import { isTooLarge } from "../platform/mongo.ts";
import { asFailure, RetellError } from "../retell/errors.ts";
import type { ChatContext } from "./context.ts";
import { type FinalHistory, forgetIfOver, storeEnding } from "./ending.ts";
import { importHistory, markOverflow } from "./legacy.ts";
import { type ChatSnapshot, isImported, isLive, needsImport, type StoredMessage, type Turn } from "./model.ts";
import { reconcile, type Step } from "./reconcile.ts";
import type { NumberedMessage } from "./search/search-index.ts";
import { numbered } from "./search/segment.ts";
import { withWords } from "./search/with-words.ts";
import { shortenStored } from "./shorten.ts";
import { fitsDocument, maxShortenedBytes } from "./size.ts";
import * as chats from "./store/chats.ts";
import * as settling from "./store/settling.ts";
import * as turns from "./store/turns.ts";
import { settleAfter500Ms, settleMs } from "./timing.ts";

interface SettleOptions {
  /** Ends the read at Retell. */
  signal: AbortSignal;
  /** A history that shows the chat as over. Nothing can follow it, so Retell is not read again. */
  history?: FinalHistory;
  /** The chat as the caller has just read it, which saves a read. */
  current?: ChatSnapshot;
  /** The read is made even while the account's breaker is open. */
  bypassBreaker?: boolean;
}

/** A chat after settling. */
export interface Settled {
  chat: ChatSnapshot;
  /** A turn is still open: `live`, its sender may be alive; `unknown`, Retell has not told yet. */
  openTurn: "live" | "unknown" | undefined;
  /** Why Retell could not be read: then `chat` is what was stored. */
  failure: RetellError | undefined;
}

const rounds = 3;

type StepOf<Kind extends Step["kind"]> = Extract<Step, { kind: Kind }>;

/** For how long absence in Retell's history proves nothing. */
export const settleTimes = () => ({ settleMs: settleMs(), settleAfter500Ms });

/**
 * Makes our copy of a chat agree with Retell's history, and decides an open turn where that is possible. Any number of
 * requests may do it at once, as each write names the revision that it was decided on.
 *
 * @see docs/turns.md
 * @throws CHAT_NOT_FOUND
 */
export async function settle(context: ChatContext, options: SettleOptions): Promise<Settled> {
  const { tenant, chatId, retell } = context;
  const { signal, history: final, current, bypassBreaker = false } = options;
  let failure: RetellError | undefined;
  for (let round = 0; round < rounds; round++) {
    const chat = (round === 0 && current) || (await chats.getOrThrow(tenant, chatId));
    const turn = chat.internal?.turn;
    const isLeased = isLive(turn, chat.now);
    if (needsImport(chat) && !isLeased) {
      const notImported = await importHistory(context, chat, signal, final);
      if (notImported) return notImported;
      continue;
    }
    if (isLeased || (turn && final?.isAssumed)) {
      const closed = final ? await closeWithOpenTurn(tenant, chat, final) : chat;
      if (!closed) continue;
      return { chat: closed, openTurn: turn?.state === "sending" ? "live" : "unknown", failure: undefined };
    }

    // Retell is read after our copy, so what its history lacks was not there when we stored it.
    const history = final ?? (await retell.retrieve(chatId, signal, { bypassBreaker }).catch(asFailure));
    failure = history instanceof RetellError ? history : undefined;
    // A 4xx means that Retell does not have the chat (any more). That decides no turn, but it is final.
    if (failure && failure.kind !== "refused") return { chat, openTurn: turn && "unknown", failure };

    const settled = await applySteps(context, chat, history instanceof RetellError ? undefined : history);
    if (settled) return { ...settled, failure };
  }
  // Other requests have changed the chat in each round: what they stored is as recent.
  const chat = await chats.getOrThrow(tenant, chatId);
  return { chat, openTurn: chat.internal?.turn && "unknown", failure };
}

/**
 * Closes a chat that is over at Retell while a turn is open, which its sender or the next reader settles. A turn that
 * is running when the chat ends is its last one.
 */
function closeWithOpenTurn(
  tenant: TenantContext,
  chat: ChatSnapshot,
  final: FinalHistory,
): Promise<ChatSnapshot | undefined> {
  const turn = chat.internal?.turn;
  const endedIn = final.isAssumed || chat.internal?.endedIn ? undefined : turn?.id;
  return storeEnding(tenant, chat, { ...(endedIn ? { endedIn } : {}), ...final });
}

/** Takes one step after the other until both histories agree; undefined when another request has changed the chat. */
async function applySteps(
  { tenant, chatId }: ChatContext,
  start: ChatSnapshot,
  history: FinalHistory | undefined,
): Promise<Omit<Settled, "failure"> | undefined> {
  const closeIfOver = async (chat: ChatSnapshot) => (history ? storeEnding(tenant, chat, history) : chat);
  let chat: ChatSnapshot | null = start;
  while (chat) {
    // A legacy chat that ended under the old server keeps the messages that it has.
    const step: Step = isImported(chat) ? reconcile(chat, history, settleTimes()) : ({ kind: "none" } as const);
    const turn: Turn | undefined = chat.internal?.turn;
    switch (step.kind) {
      case "later":
      case "none": {
        // A chat that is over at Retell is closed even if its turn can only be decided later.
        const closed = await closeIfOver(chat);
        return closed && { chat: closed, openTurn: step.kind === "later" ? "unknown" : undefined };
      }
      case "append":
        // If Retell's history alone is too large for a document, it is shown and not stored.
        if (!turn && !fitsDocument(chat, history?.message_with_tool_calls ?? [])) {
          await markOverflow(tenant, chat);
          const closed = await closeIfOver(chat);
          const messages = [...chat.messages, ...step.entries];
          return closed && { chat: { ...closed, messages }, openTurn: undefined };
        }
        chat = await withWords(append(tenant, chat, step), tenant, chat, saidIn(chat, step.entries));
        if (chat && turn) logSettled(tenant, chatId, turn, "delivered");
        break;
      case "correct":
        chat = await withWords(correct(tenant, chat, step), tenant, chat, correctedIn(chat, step));
        break;
      case "prepend":
        chat = await withWords(
          settling.prepend(tenant, chat, step.entries),
          tenant,
          chat,
          numbered(chat, step.entries, -step.entries.length),
        );
        break;
      case "fail":
        if (turn) await fail(tenant, chat, turn, step);
        await forgetIfOver(tenant, chat);
        return undefined; // the chat has changed, by this request or by another
    }
    if (chat) await forgetIfOver(tenant, chat);
  }
  return undefined;
}

/** What was said in the open turn, and the entries that follow. */
function saidIn(chat: ChatSnapshot, entries: StoredMessage[]): NumberedMessage[] {
  const turn = chat.internal?.turn?.id;
  const known = turn ? numbered(chat, chat.messages).filter(({ internal }) => internal?.turn === turn) : [];
  return [...known, ...numbered(chat, entries, chat.messages.length)];
}

/** A message with its new text. */
const correctedIn = (chat: ChatSnapshot, { index, content }: StepOf<"correct">) =>
  numbered(chat, chat.messages.slice(index, index + 1), index).map((message) => ({ ...message, content }));

/** Appends entries. They are shortened if the document would be too large with them. */
async function append(tenant: TenantContext, chat: ChatSnapshot, step: StepOf<"append">): Promise<ChatSnapshot | null> {
  const endedIn = chat.internal?.endedIn ?? step.lastTurn; // a client may know the stored one
  const write = (entries: StoredMessage[]) => settling.append(tenant, chat, entries, step.retellUserCount, endedIn);
  try {
    return await write(step.entries);
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    const budget = maxShortenedBytes - (await chats.sizeOf(tenant, chat.chat_id));
    tenant.log.warn("Entries of Retell were stored shortened: the chat is too large", undefined, {
      chatId: chat.chat_id,
    });
    return write(shortenStored(step.entries, Math.max(0, budget)));
  }
}

/** Completes a text. One that does not fit is left as it is, and marked, so that it is not tried again. */
async function correct(
  tenant: TenantContext,
  chat: ChatSnapshot,
  { index, content }: StepOf<"correct">,
): Promise<ChatSnapshot | null> {
  try {
    return await settling.correct(tenant, chat, index, { content });
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    return settling.correct(tenant, chat, index, { "internal.shortened": true });
  }
}

async function fail(tenant: TenantContext, chat: ChatSnapshot, turn: Turn, step: StepOf<"fail">): Promise<void> {
  const { reason, mayArrive } = step;
  const isFailed = await turns.fail(
    tenant,
    chat.chat_id,
    turn.id,
    { mayArrive, sentAt: turn.at.getTime(), undecided: reason === "undecided" },
    chat,
  );
  if (isFailed) logSettled(tenant, chat.chat_id, turn, reason);
}

/**
 * Logged under the operationId of the send itself, so that a search for it does not end at its 504. A request that
 * settles its own turn has a line of its own.
 */
function logSettled({ log }: TenantContext, chatId: string, turn: Turn, outcome: string): void {
  if (outcome === "delivered") log.metrics.add("MessagesSent");
  const settledBy = log.fields.operationId;
  if (settledBy === turn.operationId) return;
  log.info("Turn settled", { operationId: turn.operationId, chatId, turnId: turn.id, outcome, settledBy });
}
