import { endpoint } from "../lib/api/endpoint.ts";
import { routes } from "../lib/api/routes.ts";
import { find } from "../lib/chat/search/mongo-index.ts";
import { encodeSearchCursor } from "../lib/chat/search/schema.ts";
import { toListedChat } from "../lib/chat/view.ts";

/** Finds chats by what agent and user said, newest first. */
export const handler = endpoint(routes.search).handler(async ({ query, tenant }) => {
  const { q, limit, from, hash } = query;
  const { chats, next, isPartial } = await find(tenant, { terms: q, limit, from });
  return {
    data: chats.map(({ matches, ...chat }) => ({ ...toListedChat(chat), matches })),
    meta: {
      count: chats.length,
      hasMore: next !== undefined,
      ...(next ? { nextCursor: encodeSearchCursor(next, hash) } : {}),
      ...(isPartial ? { partial: true as const } : {}),
    },
  };
});
