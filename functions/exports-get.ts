import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/exports-get.ts";
import { getExport, toExport } from "../lib/chat/export/exports.ts";

/** How far an export is. Each answer has a new link to the file. */
export const handler = endpoint(route).handler(async ({ params, tenant }) => ({
  data: await toExport(await getExport(tenant, params.exportId)),
}));
