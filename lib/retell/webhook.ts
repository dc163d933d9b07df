import * as z from "zod";
import { History } from "./schema.ts";

/**
 * What Retell tells of a chat. Events have no id and no order: chat_analyzed may come before a retried chat_ended,
 * and each may come again.
 */
export const Event = z.object({
  event: z.string(),
  /** Voice events carry `call` instead, and others may come: they are none of ours. */
  chat: History.optional().catch(undefined),
});
export type Event = z.infer<typeof Event>;
