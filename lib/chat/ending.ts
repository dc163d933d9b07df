import { isTooLarge } from "../mongo.ts";
import type { History } from "../retell/schema.ts";
import type { Tenant } from "../tenant.ts";
import * as cache from "./cache.ts";
import { asText, countOf, type ReadChat } from "./document.ts";
import { chats, type Ending } from "./store.ts";

/** A history that shows the chat as over. */
export interface Final extends History {
  /** The turn in which the agent ended the chat, if that is known. */
  endedIn?: string;
  /** Nobody has read it: Retell has ended the chat, and that is all we know. It proves nothing about a turn. */
  isAssumed?: true;
}

/** Beside the messages in one document of 16 MB. A longer text is composed whenever it is read. */
const maxTranscriptBytes = 3_500_000;

/** What is cached of a chat that is over no longer holds once it changes. */
export async function forgetOver(tenant: Tenant, { chat_id, chat_status }: Pick<ReadChat, "chat_id" | "chat_status">) {
  if (chat_status === "ongoing") return;
  const { subaccountId, log } = tenant;
  await cache.forget([cache.listEntry(subaccountId), cache.chatEntry(subaccountId, chat_id)], log);
}

/** Writes how the chat finished, if it has and if that is news; undefined when the chat changed under our hands. */
export async function close(tenant: Tenant, chat: ReadChat, history: Final): Promise<ReadChat | undefined> {
  const ending = endingOf(chat, history);
  if (!ending) return chat;
  const closed = await chats.close(tenant, chat, ending).catch((error) => {
    if (!isTooLarge(error)) throw error;
    // The document is full. That the chat is over is worth more than what Retell has besides.
    const { transcript: _t, chat_cost: _c, chat_analysis: _a, collected_dynamic_variables: _v, ...end } = ending;
    return chats.close(tenant, chat, end);
  });
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
