import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/exports-cancel.ts";
import { cancelExport, toExport } from "../lib/chat/export/exports.ts";

/** Cancels an export, or deletes the file of one that is completed. Canceling twice is not an error. */
export const handler = endpoint(route).handler(async ({ params, tenant }) => ({
  data: await toExport(await cancelExport(tenant, params.exportId)),
}));
