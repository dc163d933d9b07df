import { signedEndpoint } from "../lib/api/endpoint.ts";
import { routes } from "../lib/api/routes.ts";
import { applyRetellEvent } from "../lib/chat/retell-events.ts";

/** What Retell tells us afterwards. What is signed and none of ours is a 2xx too: anything else would be sent again. */
export const handler = signedEndpoint(routes.webhook).handler(async ({ rawBody, tenant, deadline, log }) => {
  Object.assign(log.fields, await applyRetellEvent(tenant, rawBody, deadline));
  return { data: { received: true } };
});
