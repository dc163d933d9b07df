import { signedEndpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/webhook.ts";
import { applyRetellEvent } from "../lib/chat/retell-events.ts";

/**
 * Receives Retell's webhooks. A signed event that does not concern us is a 2xx too: Retell would send it again
 * otherwise.
 */
export const handler = signedEndpoint(route).handler(async ({ rawBody, tenant, deadline, log }) => {
  Object.assign(log.fields, await applyRetellEvent(tenant, rawBody, deadline));
  return { data: { received: true } };
});
