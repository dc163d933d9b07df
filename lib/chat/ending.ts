import { isDeepStrictEqual } from "node:util";
import type { TenantContext } from "../access/tenant.ts";
import { isTooLarge } from "../platform/mongo.ts";
import type { RetellChat } from "../retell/schema.ts";
import { isPrefixOf } from "./align/text.ts";
import * as cache from "./cache.ts";
import { isEmpty, merge } from "./merge.ts";
import { type ChatSnapshot, countOf } from "./model.ts";
import { fitsDocument, maxTranscriptBytes } from "./size.ts";
import type { Ending } from "./store/endings.ts";
import * as endings from "./store/endings.ts";
import { endTimeMarginMs } from "./timing.ts";
import { transcriptText } from "./view.ts";

/** A history that shows the chat as over. */
export interface FinalHistory extends RetellChat {
  /** The turn in which the agent ended the chat, if that is known. */
  endedIn?: string;
  /** Retell has ended the chat, but its history could not be read: absence in it proves nothing about a turn. */
  isAssumed?: true;
  /** A signed webhook, for what get-chat lacks. `isLatest`: Retell sends it after all others. */
  webhook?: { chat: RetellChat; isLatest: boolean };
}

/** Drops what is cached of a chat that is over, after a change. Ongoing chats are not cached. */
export async function forgetIfOver(
  tenant: TenantContext,
  { chat_id, chat_status }: Pick<ChatSnapshot, "chat_id" | "chat_status">,
) {
  if (chat_status === "ongoing") return;
  const { subaccountId, log } = tenant;
  await cache.forget([cache.listKey(subaccountId), cache.chatKey(subaccountId, chat_id)], log);
}

/** Stores how a chat finished, if that is new; undefined when another request has changed the chat. */
export async function storeEnding(
  tenant: TenantContext,
  chat: ChatSnapshot,
  history: FinalHistory,
  more: Ending = {},
): Promise<ChatSnapshot | undefined> {
  const found = endingOf(chat, history);
  if (!found) return chat;
  const ending = { ...found, ...more };
  const closed = await endings.close(tenant, chat, ending).catch((error) => {
    if (!isTooLarge(error)) throw error;
    // The document is full: only that the chat is over is stored, without the details.
    const { transcript: _t, chat_cost: _c, chat_analysis: _a, collected_dynamic_variables: _v, ...end } = ending;
    return endings.close(tenant, chat, end);
  });
  if (!closed) return undefined;
  measureEnd(tenant, chat, closed);
  logEnd(tenant, chat);
  await forgetIfOver(tenant, closed);
  return closed;
}

/** For the sweep, which has no log line for each chat. A request has a line of its own. */
function logEnd({ log }: TenantContext, before: ChatSnapshot): void {
  if (before.chat_status === "ongoing" && log.fields.route === undefined) log.info("A chat was found over");
}

/** Counts each chat once: when its end is new, and when its cost is new. */
function measureEnd({ log: { metrics } }: TenantContext, before: ChatSnapshot, after: ChatSnapshot): void {
  if (before.chat_status === "ongoing") {
    const lastedMs = (after.end_timestamp ?? Date.now()) - after.start_timestamp;
    metrics.put("ChatDuration", Math.max(0, lastedMs / 1_000));
    metrics.put("MessagesPerChat", countOf(after.messages));
  }
  const cost = after.chat_cost?.combined_cost;
  if (typeof before.chat_cost?.combined_cost !== "number" && typeof cost === "number") metrics.put("ChatCost", cost);
}

/** What the history says about the end and we have not stored; undefined when there is nothing. */
export function endingOf(chat: ChatSnapshot, history: FinalHistory): Ending | undefined {
  if (history.chat_status === "ongoing") return undefined;
  const isNew = chat.chat_status === "ongoing";
  const ending: Ending = {
    ...(isNew ? { chat_status: history.chat_status } : {}),
    ...(isNew && endings.mayNoteEndedIn(chat, history.endedIn) ? { "internal.endedIn": history.endedIn } : {}),
    ...endTime(chat, history),
    ...finalText(chat, history),
    ...details(chat, history),
  };
  return Object.keys(ending).length > 0 ? ending : undefined;
}

/**
 * When it ended. Our clock or a webhook stands in until Retell's history has the time. A stored time that differs by
 * seconds stays: clocks differ, and a client may have been told.
 */
function endTime(chat: ChatSnapshot, { end_timestamp: read, webhook, isAssumed }: FinalHistory): Ending {
  const isCorrected =
    read !== undefined && !isAssumed && !(Math.abs(read - Number(chat.end_timestamp)) <= endTimeMarginMs);
  const time = read ?? webhook?.chat.end_timestamp ?? Date.now();
  return {
    ...(chat.end_timestamp === null || isCorrected ? { end_timestamp: time } : {}),
    ...(!chat.endedAt || isCorrected ? { endedAt: new Date(time) } : {}),
  };
}

/**
 * The whole transcript, unless an open turn may still add to it. It only grows: a text that Retell scrubs later stays.
 */
function finalText(chat: ChatSnapshot, history: FinalHistory): Ending {
  if (chat.internal?.turn || history.isAssumed) return {};
  const known = [history.transcript, history.webhook?.chat.transcript].flatMap((text) => text || []);
  const texts = known.length > 0 ? known : [transcriptText(chat.messages)];
  const transcript = texts.reduce((longest, text) => (isPrefixOf(longest, text) ? text : longest), chat.transcript);
  if (transcript === chat.transcript || Buffer.byteLength(transcript) > maxTranscriptBytes) return {};
  return fitsDocument({ ...chat, transcript }, chat.messages) ? { transcript } : {};
}

/**
 * What get-chat says counts. What it lacks comes from the webhook: chat_analyzed is sent last and replaces what is
 * stored, chat_ended only adds to it, as it may come late.
 */
function details(chat: ChatSnapshot, history: FinalHistory): Ending {
  const { webhook } = history;
  const ending: Ending = {};
  for (const name of ["chat_cost", "chat_analysis", "collected_dynamic_variables"] as const) {
    const before = chat[name];
    const known = webhook?.isLatest ? merge(before, webhook.chat[name]) : merge(webhook?.chat[name], before);
    const now = merge(known, history[name]);
    // `merge` returns one of two records, or a record of both, unless it returns nothing.
    if (!isEmpty(now) && !isDeepStrictEqual(now, before)) ending[name] = now as Record<string, unknown>;
  }
  return ending;
}
