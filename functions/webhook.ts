import { learn } from "../lib/chat/news.ts";
import { signedEndpoint } from "../lib/endpoint.ts";
import { routes } from "../lib/routes.ts";

/** What Retell tells us afterwards. Whatever it is, once it is signed the answer is 2xx: anything else is sent again. */
export const handler = signedEndpoint(routes.webhook).handler(async ({ rawBody, tenant, deadline, log }) => {
  Object.assign(log.fields, await learn(tenant, rawBody, deadline));
  return { data: { received: true } };
});
