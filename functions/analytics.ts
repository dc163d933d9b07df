import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/analytics.ts";
import { analyze } from "../lib/chat/analytics/analytics.ts";
import { rangeOf } from "../lib/chat/analytics/schema.ts";

/** Sums up the chats of a range of time, in total and by day, week, month or hour of the day. */
export const handler = endpoint(route).handler(async ({ query, tenant, deadline }) => {
  const range = rangeOf(query);
  const data = await analyze(tenant, range, query, deadline);
  return { data, meta: { ...range, timezone: query.timezone, approximate: false } };
});
