import * as z from "zod";
import { parseJson } from "../json.ts";
import type { CallLog } from "../logger.ts";
import { History } from "./schema.ts";

/**
 * What Retell tells of a chat. Events have no id and no order: chat_analyzed may come before a retried chat_ended,
 * and each may come again.
 */
const Event = z.object({
  event: z.string(),
  /** Voice events carry `call` instead, and others may come: they are none of ours. */
  chat: History.optional().catch(undefined),
});
type Event = z.infer<typeof Event>;

/** What a signed body says. Where it cannot be read, an event that nothing follows from. */
export function readEvent(body: string, _log: CallLog): Event {
  return Event.safeParse(parseJson(body)).data ?? { event: "unreadable" };
}
