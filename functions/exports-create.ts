import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/exports-create.ts";
import { createExport, toExport } from "../lib/chat/export/exports.ts";

/** Accepts an export of many chats. A worker writes it (functions/worker.ts). */
export const handler = endpoint(route).handler(async ({ body, tenant, actor, operationId, idempotency }) => {
  const { job, isReplay } = await createExport(tenant, body, { actor, operationId, idempotency });
  return { data: await toExport(job), isReplay };
});
