import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/list.ts";
import * as cache from "../lib/chat/cache.ts";
import { countChats, findPage } from "../lib/chat/find/page.ts";
import { pollIdleMs } from "../lib/chat/timing.ts";
import { toListedChat } from "../lib/chat/view.ts";

const defaults = route.query.parse({});

/** Pages through a subaccount's chats. The default first page of all chats is cached for a minute. */
export const handler = endpoint(route, {
  cached: ({ params, query: { limit, cursor, list, include } }) =>
    limit === defaults.limit && (cursor ?? list ?? include) === undefined
      ? cache.listKey(params.subaccountId)
      : undefined,
}).handler(async ({ query, tenant, cached }) => {
  const { filter, limit, cursor: after, isAscending, list, ignored } = query;
  const about = { poll_after_ms: pollIdleMs, ...(ignored.length > 0 ? { ignored } : {}) };
  if (cached?.hit) return { answer: cached.hit, meta: { cached: true, ...about } };

  const [page, total] = await Promise.all([
    findPage(tenant, { filter, limit, after, isAscending, list }),
    query.include && countChats(tenant, filter),
  ]);
  const { chats, nextCursor, isPartial } = page;
  return {
    data: chats.map(toListedChat),
    page: { count: chats.length, hasMore: nextCursor !== undefined, nextCursor },
    meta: { cached: false, ...about, ...(isPartial ? { partial: true as const } : {}), ...(total ? { total } : {}) },
    fill: cached?.fill,
  };
});
