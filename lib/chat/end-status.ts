import { sleep } from "../platform/time.ts";
import type { SendContext } from "./context.ts";
import { type FinalHistory, forgetIfOver } from "./ending.ts";
import type { ChatSnapshot } from "./model.ts";
import { unknownOutcome } from "./outcome.ts";
import type { ChatStatus } from "./schema.ts";
import { settle } from "./settle.ts";
import * as chats from "./store/chats.ts";
import * as endings from "./store/endings.ts";
import { endCheckMs, endCheckOfOtherMs, minReplayMs, replayPollMs } from "./timing.ts";

/** Retell's history if it shows the chat as over. A read that fails, or takes too long, is left to the next reader. */
export async function readFinalHistory({
  tenant,
  chatId,
  retell,
  deadline,
}: SendContext): Promise<FinalHistory | undefined> {
  try {
    const signal = AbortSignal.any([deadline.answerSignal(), AbortSignal.timeout(endCheckMs)]);
    const history = await retell.retrieve(chatId, signal);
    return history.chat_status === "ongoing" ? undefined : history;
  } catch (error) {
    tenant.log.warn("Status not read after a turn that may have ended the chat", error);
    return undefined;
  }
}

/** What is known of the chat's end when a turn is finished. */
interface EndCheck {
  /** Of the chat when the turn was finished. */
  chat_status: ChatStatus;
  /** The turn in which the chat ended, if that was noted then. */
  endedIn: string | undefined;
  /** Retell's history, if it shows the chat as over. */
  final: FinalHistory | undefined;
  /** The send has a key: a repeat must be told the same. */
  isKeyed: boolean;
  /** It was noted that a repeat has to wait for this check. */
  isEndPending: boolean;
}

/**
 * The chat's status as a finished turn tells it. A repeat with the key must be told the same, so a keyed send is told
 * that the chat is over only once it is noted that the chat ended in this turn.
 *
 * @throws MESSAGE_SEND_FAILED with `details.outcome: "unknown"` when that could not be noted for a keyed send
 */
export async function statusAfter(context: SendContext, turnId: string, check: EndCheck): Promise<ChatStatus> {
  const { tenant, chatId, deadline } = context;
  const { final, isKeyed } = check;
  const isOver = check.chat_status !== "ongoing";
  const status = isOver ? check.chat_status : (final?.chat_status ?? "ongoing");
  if (status === "ongoing") return status;
  try {
    let { endedIn } = check;
    if (isOver) await forgetIfOver(tenant, { chat_id: chatId, chat_status: status });
    else if (final) {
      const settled = await settle(context, {
        history: { ...final, endedIn: turnId },
        signal: deadline.answerSignal(),
      });
      endedIn = settled.chat.internal?.endedIn;
    }
    if (!isOver && (!isKeyed || endedIn === turnId)) return status;
    // Another request stored the end.
    const isNoted = await endings.noteEndedIn(tenant, chatId, turnId, check.isEndPending);
    return isNoted || !isKeyed ? status : "ongoing";
  } catch (error) {
    // The reply is stored, and the next reader closes the chat.
    tenant.log.warn("The chat's end was not stored yet", error);
    // Whether a repeat will be told of the end cannot be said now.
    if (isKeyed && check.endedIn !== turnId) throw unknownOutcome(turnId, error);
    return status;
  }
}

/**
 * The chat for a repeat. Its first request may be checking at this moment whether the agent has ended the chat in this
 * turn, and is waited for. If that request died, or takes too long, neither of them tells of an end.
 */
export async function chatForReplay({ tenant, chatId, deadline }: SendContext, turnId: string): Promise<ChatSnapshot> {
  const until = Date.now() + Math.min(endCheckOfOtherMs, deadline.leftMs - minReplayMs);
  for (;;) {
    const chat = await chats.getOrThrow(tenant, chatId);
    const { endedIn, endPending } = chat.internal ?? {};
    if (endedIn === turnId || !endPending?.includes(turnId)) return chat;
    if (Date.now() < until) await sleep(replayPollMs);
    else await endings.noteNotEnded(tenant, chatId, turnId);
  }
}
