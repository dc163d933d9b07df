import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import { retellFor } from "../retell/client.ts";
import { asFailure, RetellError } from "../retell/errors.ts";
import type { RetellChat, RetellMessage } from "../retell/schema.ts";
import { readEvent } from "../retell/webhook.ts";
import { isPrefixOf } from "./align/text.ts";
import { endingOf, type FinalHistory } from "./ending.ts";
import { containsAll } from "./legacy.ts";
import { isEmpty } from "./merge.ts";
import { type ChatSnapshot, isImported, needsImport } from "./model.ts";
import { reconcile } from "./reconcile.ts";
import { settle, settleTimes } from "./settle.ts";
import * as chats from "./store/chats.ts";
import * as schedule from "./store/schedule.ts";
import { leaseMs, unknownChatMs, webhookPatienceMs } from "./timing.ts";

/** What an event was, and what was done with it. */
export interface RetellEventOutcome {
  event: string;
  outcome: "taken in" | "unknown chat" | "nothing to do";
}

/**
 * Stores what an event of Retell says about a chat. A webhook is a hint: if it has anything new, the chat is read at
 * Retell, and only what that lacks is taken from the webhook. Messages only grow and the end is final, so repeated
 * events, and events in any order, change nothing.
 *
 * @param body A webhook's body, its signature checked.
 * @returns    For the log.
 */
export async function applyRetellEvent(
  tenant: TenantContext,
  body: string,
  deadline: Deadline,
): Promise<RetellEventOutcome> {
  const { event, chat } = readEvent(body, tenant.log);
  if (!chat || (event !== "chat_ended" && event !== "chat_analyzed"))
    return { event: event.slice(0, 40), outcome: "nothing to do" };

  // The path's subaccount and the id must both match: others use the same Retell workspace.
  const chatId = chat.chat_id;
  tenant.log.fields.chatId = chatId.slice(0, 64);
  const current = await chats.get(tenant, chatId);
  if (!current) return { event, outcome: "unknown chat" };

  // Both events mean that the chat is over, whatever status stands beside them.
  const webhookChat: RetellChat = { ...chat, chat_status: chat.chat_status === "error" ? "error" : "ended" };
  if (!hasNewContent(current, webhookChat, event)) return { event, outcome: "taken in" };

  const context = { tenant, chatId, retell: await retellFor(tenant) };
  const signal = AbortSignal.any([deadline.callSignal(), AbortSignal.timeout(webhookPatienceMs)]);
  const history = await context.retell.retrieve(chatId, signal).catch(asFailure);
  if (history instanceof RetellError) tenant.log.warn("A chat was not read at Retell: its webhook stands in", history);
  const final = finalOf(current, { chat: webhookChat, isLatest: event === "chat_analyzed" }, history);
  const { openTurn } = await settle(context, { history: final, current, signal: deadline.callSignal() });
  if (openTurn === "live") await schedule.postpone(tenant, chatId, leaseMs());
  else if (openTurn || !isOver(history)) await schedule.postpone(tenant, chatId, unknownChatMs);
  return { event, outcome: "taken in" };
}

/** Whether a webhook has anything that is not stored. A repeat has nothing, and costs no read at Retell. */
function hasNewContent(chat: ChatSnapshot, webhookChat: RetellChat, event: string): boolean {
  if (chat.chat_status === "ongoing" || chat.internal?.turn || needsImport(chat)) return true;
  if (event === "chat_analyzed" && isEmpty(chat.chat_analysis)) return true;
  if (endingOf(chat, { ...webhookChat, isAssumed: true })) return true;
  // Without a stored transcript the sweep reads it at Retell.
  if (chat.transcript !== "" && isPrefixOf(chat.transcript, webhookChat.transcript ?? undefined)) return true;
  return isImported(chat) && reconcile(chat, webhookChat, settleTimes()).kind !== "none";
}

/**
 * How the chat ended, by Retell's history and the webhook. If Retell does not show the end yet, or cannot be read,
 * absence proves nothing: an open turn is decided only if its message is there.
 */
function finalOf(
  current: ChatSnapshot,
  webhook: NonNullable<FinalHistory["webhook"]>,
  history: RetellChat | RetellError,
): FinalHistory {
  const known = history instanceof RetellError ? undefined : history;
  const lists = [known?.message_with_tool_calls, webhook.chat.message_with_tool_calls];
  const entries = lists.reduce((one, other) => ((other?.length ?? 0) > (one?.length ?? 0) ? other : one));
  const sameId = Map.groupBy(
    lists.flatMap((list) => list ?? []),
    ({ message_id }) => message_id,
  );
  // An import fixes the order of messages. A partial list is not imported while Retell may still show the whole
  // history.
  const isLast = isOver(history) || (history instanceof RetellError && history.kind === "refused");
  const isHistory = !needsImport(current) || isLast || containsAll(current.messages, entries ?? []);
  const final: FinalHistory = {
    ...(known ?? { chat_id: webhook.chat.chat_id, agent_id: webhook.chat.agent_id }),
    chat_status: isOver(history) ? history.chat_status : webhook.chat.chat_status,
    message_with_tool_calls: isHistory
      ? entries?.map((entry) => completed(entry, sameId.get(entry.message_id)))
      : undefined,
    webhook,
  };
  const isShown = current.internal?.turn && reconcile(current, final, settleTimes()).kind === "append";
  return isOver(history) || isShown ? final : { ...final, isAssumed: true };
}

/** An entry with its whole text, if another entry of its id has more of it. */
function completed(entry: RetellMessage, sameId: RetellMessage[] = []): RetellMessage {
  const content = sameId.map((other) => other.content).find((text) => isPrefixOf(entry.content, text));
  return content === undefined || entry.message_id === undefined ? entry : { ...entry, content };
}

const isOver = (history: RetellChat | RetellError): history is RetellChat =>
  !(history instanceof RetellError) && history.chat_status !== "ongoing";
