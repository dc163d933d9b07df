import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/search.ts";
import { find } from "../lib/chat/search/mongo-index.ts";
import { encodeSearchCursor } from "../lib/chat/search/schema.ts";
import { toListedChat } from "../lib/chat/view.ts";

/** Finds chats by what agent and user said, newest first. */
export const handler = endpoint(route).handler(async ({ query, tenant }) => {
  const { q: terms, filter, limit, from, search, ignored } = query;
  const { chats, next, isPartial } = await find(tenant, { terms, filter, limit, from });
  return {
    data: chats.map(({ matches, ...chat }) => ({ ...toListedChat(chat), matches })),
    meta: {
      count: chats.length,
      hasMore: next !== undefined,
      ...(next ? { nextCursor: encodeSearchCursor(next, search) } : {}),
      ...(isPartial ? { partial: true as const } : {}),
      ...(ignored.length > 0 ? { ignored } : {}),
    },
  };
});
