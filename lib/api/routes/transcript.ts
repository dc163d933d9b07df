import * as z from "zod";
import { InChat, PollAfter, Transcript, TranscriptQuery } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("transcript", {
  method: "GET",
  path: "/api/chats/{subaccountId}/{chatId}/transcript",
  summary: "One chat in full",
  message: "Chat transcript retrieved successfully",
  permission: "read",
  limit: { requests: 100, perSeconds: 60 },
  params: InChat,
  query: TranscriptQuery,
  data: Transcript,
  meta: z.object({
    cached: z.boolean(),
    stale: z.literal(true).optional(),
    revision: z.string().meta({ description: "What the answer shows of the chat: pass it as `after_revision`" }),
    hasMore: z.boolean().optional(),
    nextSeq: z.number().int().optional(),
    poll_after_ms: PollAfter,
  }),
  hasEtag: true,
  usesRetell: true,
  errors: ["CHAT_NOT_FOUND", "CHAT_RETRIEVE_FAILED"],
  memory: "1024 MB",
});
