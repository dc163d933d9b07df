import { endpoint } from "../lib/api/endpoint.ts";
import { routes } from "../lib/api/routes.ts";
import { getExport, toExport } from "../lib/chat/export/exports.ts";

/** How far an export is. Each answer has a new link to the file. */
export const handler = endpoint(routes["exports-get"]).handler(async ({ params, tenant }) => ({
  data: await toExport(await getExport(tenant, params.exportId)),
}));
