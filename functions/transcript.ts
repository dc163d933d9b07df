import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/transcript.ts";
import * as cache from "../lib/chat/cache.ts";
import { isFinal, isSeqProvisional, readChat, transcriptOf } from "../lib/chat/read.ts";
import { pollIdleMs, pollTurnMs } from "../lib/chat/timing.ts";

/** One chat in full. An ongoing chat is read from Retell first; one that is over is cached for five minutes. */
export const handler = endpoint(route, {
  cached: ({ params, query }) =>
    query.limit === undefined &&
    query.after_seq === undefined &&
    query.after_revision === undefined &&
    query.include === undefined
      ? cache.chatKey(params.subaccountId, params.chatId)
      : undefined,
}).handler(async ({ params, query, tenant, cached, deadline, requirePermission }) => {
  if (query.include === "tools") requirePermission("write");
  if (cached?.hit) return { answer: cached.hit, meta: { cached: true, poll_after_ms: pollIdleMs } };

  const { chat, stale } = await readChat(tenant, params.chatId, deadline, query.consistency === "strong");
  const { limit, after_seq: afterSeq, after_revision: afterRevision } = query;
  const window = { limit, afterSeq, afterRevision, withTools: query.include === "tools" };
  return {
    ...transcriptOf(chat, window, !isSeqProvisional(chat, stale)),
    meta: { cached: false, poll_after_ms: chat.internal?.turn ? pollTurnMs : pollIdleMs, ...(stale ? { stale } : {}) },
    fill: isFinal(chat) && !stale ? cached?.fill : undefined,
  };
});
