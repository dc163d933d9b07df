import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/exports-list.ts";
import { listExports, toExport } from "../lib/chat/export/exports.ts";

/** The newest exports, with new links to those files that are still there. */
export const handler = endpoint(route).handler(async ({ tenant }) => {
  const data = await Promise.all((await listExports(tenant)).map(toExport));
  return { data, page: { count: data.length } };
});
