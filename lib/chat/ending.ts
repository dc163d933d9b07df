import { isDeepStrictEqual } from "node:util";
import type { TenantContext } from "../access/tenant.ts";
import { isTooLarge } from "../platform/mongo.ts";
import type { RetellChat } from "../retell/schema.ts";
import { isBeginningOf } from "./align.ts";
import * as cache from "./cache.ts";
import { isNothing, merge } from "./merge.ts";
import { countOf, type ReadChat } from "./model.ts";
import { fits } from "./size.ts";
import type { Ending } from "./store/settling.ts";
import * as settling from "./store/settling.ts";
import { transcriptText } from "./view.ts";

/** A history that shows the chat as over. */
export interface Final extends RetellChat {
  /** The turn in which the agent ended the chat, if that is known. */
  endedIn?: string;
  /** Nobody has read it: Retell has ended the chat, and that is all we know. It proves nothing about a turn. */
  isAssumed?: true;
  /** A signed webhook, for what get-chat lacks; `isLatest`: it was sent after all others. */
  told?: { chat: RetellChat; isLatest: boolean };
}

/** Beside the messages in one document of 16 MB. A longer text is composed whenever it is read. */
const maxTranscriptBytes = 3_500_000;

/** By how much clocks may differ. */
const clocksMs = 60_000;

/** What is cached of a chat that is over no longer holds once it changes. */
export async function forgetOver(
  tenant: TenantContext,
  { chat_id, chat_status }: Pick<ReadChat, "chat_id" | "chat_status">,
) {
  if (chat_status === "ongoing") return;
  const { subaccountId, log } = tenant;
  await cache.forget([cache.listKey(subaccountId), cache.chatKey(subaccountId, chat_id)], log);
}

/** Writes how the chat finished, if it has and if that is news; undefined when the chat changed under our hands. */
export async function close(
  tenant: TenantContext,
  chat: ReadChat,
  history: Final,
  more: Ending = {},
): Promise<ReadChat | undefined> {
  const found = endingOf(chat, history);
  if (!found) return chat;
  const ending = { ...found, ...more };
  const closed = await settling.close(tenant, chat, ending).catch((error) => {
    if (!isTooLarge(error)) throw error;
    // The document is full. That the chat is over is worth more than what Retell has besides.
    const { transcript: _t, chat_cost: _c, chat_analysis: _a, collected_dynamic_variables: _v, ...end } = ending;
    return settling.close(tenant, chat, end);
  });
  if (!closed) return undefined;
  measureEnd(tenant, chat, closed);
  tellOver(tenant, chat);
  await forgetOver(tenant, closed);
  return closed;
}

/** Of a request its own line tells what it was about; the sweep has none for each chat. */
function tellOver({ log }: TenantContext, before: ReadChat): void {
  if (before.chat_status === "ongoing" && log.fields.route === undefined) log.info("A chat was found over");
}

/** Each chat once: when its end, and when its cost, is news. */
function measureEnd({ log: { metrics } }: TenantContext, before: ReadChat, after: ReadChat): void {
  if (before.chat_status === "ongoing") {
    const lastedMs = (after.end_timestamp ?? Date.now()) - after.start_timestamp;
    metrics.put("ChatDuration", Math.max(0, lastedMs / 1_000));
    metrics.put("MessagesPerChat", countOf(after.messages));
  }
  const cost = after.chat_cost?.combined_cost;
  if (typeof before.chat_cost?.combined_cost !== "number" && typeof cost === "number") metrics.put("ChatCost", cost);
}

/** What the history says of the end and we do not have; undefined when there is nothing. */
export function endingOf(chat: ReadChat, history: Final): Ending | undefined {
  if (history.chat_status === "ongoing") return undefined;
  const isNews = chat.chat_status === "ongoing";
  const ending: Ending = {
    ...(isNews ? { chat_status: history.chat_status } : {}),
    ...(isNews && mayTell(chat, history.endedIn) ? { "internal.endedIn": history.endedIn } : {}),
    ...endTime(chat, history),
    ...finalText(chat, history),
    ...details(chat, history),
  };
  return Object.keys(ending).length > 0 ? ending : undefined;
}

/** Whether a turn may still tell that the chat ended in it: no repeat was told otherwise, and no other turn has. */
function mayTell({ internal }: ReadChat, turnId: string | undefined): turnId is string {
  if (turnId === undefined || internal?.endedIn !== undefined) return false;
  return internal?.turn?.id === turnId || internal?.endPending?.includes(turnId) === true;
}

/**
 * When it ended. Our clock or a webhook stands in until Retell's history tells. What differs by seconds stays: clocks do,
 * and a client may have been told.
 */
function endTime(chat: ReadChat, { end_timestamp: read, told, isAssumed }: Final): Ending {
  const isCorrected = read !== undefined && !isAssumed && !(Math.abs(read - Number(chat.end_timestamp)) <= clocksMs);
  const time = read ?? told?.chat.end_timestamp ?? Date.now();
  return {
    ...(chat.end_timestamp === null || isCorrected ? { end_timestamp: time } : {}),
    ...(!chat.endedAt || isCorrected ? { endedAt: new Date(time) } : {}),
  };
}

/** The whole text, unless an open turn may still add to it. It only grows: what is scrubbed later stays as it was said. */
function finalText(chat: ReadChat, history: Final): Ending {
  if (chat.internal?.turn || history.isAssumed) return {};
  const told = [history.transcript, history.told?.chat.transcript].flatMap((text) => text || []);
  const texts = told.length > 0 ? told : [transcriptText(chat.messages)];
  const transcript = texts.reduce((known, text) => (isBeginningOf(known, text) ? text : known), chat.transcript);
  if (transcript === chat.transcript || Buffer.byteLength(transcript) > maxTranscriptBytes) return {};
  return fits({ ...chat, transcript }, chat.messages) ? { transcript } : {};
}

/**
 * What get-chat says stands. What it lacks comes from the webhook: chat_analyzed is sent last and stands over what is
 * stored, chat_ended only adds to it, as it may come late.
 */
function details(chat: ReadChat, history: Final): Ending {
  const { told } = history;
  const ending: Ending = {};
  for (const name of ["chat_cost", "chat_analysis", "collected_dynamic_variables"] as const) {
    const before = chat[name];
    const known = told?.isLatest ? merge(before, told.chat[name]) : merge(told?.chat[name], before);
    const now = merge(known, history[name]);
    if (!isNothing(now) && !isDeepStrictEqual(now, before)) ending[name] = now as Record<string, unknown>;
  }
  return ending;
}
