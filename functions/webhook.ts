import { learn } from "../lib/chat/news.ts";
import { signedEndpoint } from "../lib/endpoint.ts";
import { routes } from "../lib/routes.ts";

/** What Retell tells us afterwards. What is signed and none of ours is a 2xx too: anything else would be sent again. */
export const handler = signedEndpoint(routes.webhook).handler(async ({ rawBody, tenant, deadline, log }) => {
  Object.assign(log.fields, await learn(tenant, rawBody, deadline));
  return { data: { received: true } };
});
