import * as z from "zod";
import { parseExactly } from "../platform/json.ts";
import type { RequestLog } from "../platform/logger.ts";
import { dataOf, type LenientResult } from "./lenient.ts";
import { type RetellChat, readHistory } from "./schema.ts";

const Event = z.object({ event: z.string(), chat: z.unknown().optional() });

/**
 * What Retell tells of a chat. Events have no id and no order: chat_analyzed may come before a retried chat_ended,
 * and each may come again.
 */
interface Event {
  event: string;
  /** Voice events carry `call` instead, and others may come: they are none of ours. */
  chat: RetellChat | undefined;
}

/** What a signed body says. Where it cannot be read, an event that nothing follows from. */
export function readEvent(body: string, log: RequestLog): Event {
  const { event, chat } = Event.safeParse(parseExactly(body)).data ?? { event: "unreadable", chat: undefined };
  return { event, chat: chat === undefined ? undefined : dataOf(readChat(chat), log) };
}

function readChat(chat: unknown): LenientResult<RetellChat | undefined> {
  try {
    const { data, odd } = readHistory(chat);
    return { data, odd: odd.map((path) => `chat.${path}`) };
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    return { data: undefined, odd: ["chat.chat_id"] };
  }
}
