import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import { retellFor } from "../retell/client.ts";
import { asFailure, RetellError } from "../retell/errors.ts";
import type { RetellChat, RetellMessage } from "../retell/schema.ts";
import { readEvent } from "../retell/webhook.ts";
import { isBeginningOf } from "./align.ts";
import { endingOf, type Final } from "./ending.ts";
import { hasAll } from "./legacy.ts";
import { isNothing } from "./merge.ts";
import { isImported, needsImport, type ReadChat } from "./model.ts";
import { reconcile } from "./reconcile.ts";
import { leaseMs, limits, settle } from "./settle.ts";
import * as chats from "./store/chats.ts";
import * as schedule from "./store/schedule.ts";

/** What an event was, and what became of it. */
export interface RetellEventOutcome {
  event: string;
  outcome: "taken in" | "unknown chat" | "nothing to do";
}

/** Retell gives up on a webhook after 10 s. */
const patienceMs = 8_000;
/** When the sweep looks at a chat that could not be read at Retell now. */
const lookMs = 10_000;

/**
 * Takes in what Retell tells of a chat. A webhook is a hint: what is new in it is read at Retell, and what Retell lacks
 * comes from the webhook. Messages only grow and the end is final, so repeats and disorder change nothing.
 *
 * @param body A webhook's body, its signature checked.
 * @returns    For the log, where unknown chats are counted.
 */
export async function applyRetellEvent(
  tenant: TenantContext,
  body: string,
  deadline: Deadline,
): Promise<RetellEventOutcome> {
  const { event, chat } = readEvent(body, tenant.log);
  if (!chat || (event !== "chat_ended" && event !== "chat_analyzed"))
    return { event: event.slice(0, 40), outcome: "nothing to do" };

  // By path and id together: another subaccount's chat, or one of somebody else in the same workspace, is none of ours.
  const chatId = chat.chat_id;
  tenant.log.fields.chatId = chatId.slice(0, 64);
  const seen = await chats.get(tenant, chatId);
  if (!seen) return { event, outcome: "unknown chat" };

  // An event of the end is the end, whatever the status beside it says.
  const told: RetellChat = { ...chat, chat_status: chat.chat_status === "error" ? "error" : "ended" };
  if (!isNews(seen, told, event)) return { event, outcome: "taken in" };

  const place = { tenant, chatId, retell: await retellFor(tenant) };
  const signal = AbortSignal.any([deadline.call(), AbortSignal.timeout(patienceMs)]);
  const history = await place.retell.retrieve(chatId, signal).catch(asFailure);
  if (history instanceof RetellError) tenant.log.warn("A chat was not read at Retell: its webhook stands in", history);
  const given = finalOf(seen, { chat: told, isLatest: event === "chat_analyzed" }, history);
  const { open } = await settle(place, { given, seen, signal: deadline.call() });
  if (open === "live") await schedule.postpone(tenant, chatId, leaseMs());
  else if (open || !isOver(history)) await schedule.postpone(tenant, chatId, lookMs);
  return { event, outcome: "taken in" };
}

/** Whether a webhook lacks, contradicts or improves on what is stored: a repeat does not, and costs no read at Retell. */
function isNews(chat: ReadChat, told: RetellChat, event: string): boolean {
  if (chat.chat_status === "ongoing" || chat.internal?.turn || needsImport(chat)) return true;
  if (event === "chat_analyzed" && isNothing(chat.chat_analysis)) return true;
  if (endingOf(chat, { ...told, isAssumed: true })) return true;
  // Where there is none yet, the sweep reads it at Retell.
  if (chat.transcript !== "" && isBeginningOf(chat.transcript, told.transcript ?? undefined)) return true;
  return isImported(chat) && reconcile(chat, told, limits()).kind !== "none";
}

/**
 * How the chat ended, by both. Where Retell does not show the end yet, or cannot be read, nothing follows from what is
 * missing: an open turn is decided only if its message is there.
 */
function finalOf(seen: ReadChat, told: NonNullable<Final["told"]>, history: RetellChat | RetellError): Final {
  const known = history instanceof RetellError ? undefined : history;
  const lists = [known?.message_with_tool_calls, told.chat.message_with_tool_calls];
  const entries = lists.reduce((one, other) => ((other?.length ?? 0) > (one?.length ?? 0) ? other : one));
  const sameId = Map.groupBy(
    lists.flatMap((list) => list ?? []),
    ({ message_id }) => message_id,
  );
  // What is imported stands in its order for good. Retell may show the whole of it later, unless it has refused the chat.
  const isLast = isOver(history) || (history instanceof RetellError && history.failure === "refused");
  const isHistory = !needsImport(seen) || isLast || hasAll(seen.messages, entries ?? []);
  const final: Final = {
    ...(known ?? { chat_id: told.chat.chat_id, agent_id: told.chat.agent_id }),
    chat_status: isOver(history) ? history.chat_status : told.chat.chat_status,
    message_with_tool_calls: isHistory
      ? entries?.map((entry) => completed(entry, sameId.get(entry.message_id)))
      : undefined,
    told,
  };
  const isShown = seen.internal?.turn && reconcile(seen, final, limits()).kind === "append";
  return isOver(history) || isShown ? final : { ...final, isAssumed: true };
}

/** An entry with its whole text, where it has only the beginning and another of its id has more. */
function completed(entry: RetellMessage, sameId: RetellMessage[] = []): RetellMessage {
  const content = sameId.map((other) => other.content).find((text) => isBeginningOf(entry.content, text));
  return content === undefined || entry.message_id === undefined ? entry : { ...entry, content };
}

const isOver = (history: RetellChat | RetellError): history is RetellChat =>
  !(history instanceof RetellError) && history.chat_status !== "ongoing";
