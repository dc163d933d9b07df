import { endpoint } from "../lib/api/endpoint.ts";
import { routes } from "../lib/api/routes.ts";
import { cancelExport, toExport } from "../lib/chat/export/exports.ts";

/** Cancels an export, or deletes the file of one that is completed. Canceling twice is not an error. */
export const handler = endpoint(routes["exports-cancel"]).handler(async ({ params, tenant }) => ({
  data: await toExport(await cancelExport(tenant, params.exportId)),
}));
