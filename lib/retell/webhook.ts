import * as z from "zod";
import { parseExactly } from "../platform/json.ts";
import type { RequestLog } from "../platform/logger.ts";
import { dataOf, type LenientResult } from "./lenient.ts";
import { type RetellChat, readHistory } from "./schema.ts";

/** A webhook's body, as far as it is read. */
export const RetellEvent = z.looseObject({ event: z.string(), chat: z.unknown().optional() });

/**
 * A webhook's event. Events have no id and no order: chat_analyzed may arrive before a repeated chat_ended, and each may
 * arrive several times.
 */
interface Event {
  event: string;
  /** Undefined in events that are not about a chat, such as those of calls. */
  chat: RetellChat | undefined;
}

/** The event in a signed body. If it cannot be read, the event `unreadable` without a chat, which is ignored. */
export function readEvent(body: string, log: RequestLog): Event {
  const { event, chat } = RetellEvent.safeParse(parseExactly(body)).data ?? { event: "unreadable", chat: undefined };
  return { event, chat: chat === undefined ? undefined : dataOf(readChat(chat), log) };
}

function readChat(chat: unknown): LenientResult<RetellChat | undefined> {
  try {
    const { data, problems } = readHistory(chat);
    return { data, problems: problems.map((path) => `chat.${path}`) };
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    return { data: undefined, problems: ["chat.chat_id"] };
  }
}
