import { endpoint } from "../lib/api/endpoint.ts";
import { routes } from "../lib/api/routes.ts";
import * as cache from "../lib/chat/cache.ts";
import { cursorAfter } from "../lib/chat/cursor.ts";
import * as chats from "../lib/chat/store/chats.ts";
import { pollIdleMs } from "../lib/chat/timing.ts";
import { toListedChat } from "../lib/chat/view.ts";

const defaults = routes.list.query.parse({});

/** Pages through a subaccount's chats, newest first. The default first page is cached for a minute. */
export const handler = endpoint(routes.list, {
  cached: ({ params, query }) =>
    query.limit === defaults.limit && query.cursor === undefined ? cache.listKey(params.subaccountId) : undefined,
}).handler(async ({ query, tenant, cached }) => {
  if (cached?.hit) return { answer: cached.hit, meta: { cached: true, poll_after_ms: pollIdleMs } };

  const found = await chats.page(tenant, query.limit + 1, query.cursor);
  const page = found.slice(0, query.limit);
  const hasMore = found.length > page.length;

  const nextCursor = hasMore ? cursorAfter(page, query.cursor) : undefined;
  return {
    data: page.map(toListedChat),
    page: { count: page.length, hasMore, nextCursor },
    meta: { cached: false, poll_after_ms: pollIdleMs },
    fill: cached?.fill,
  };
});
