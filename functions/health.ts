import { publicEndpoint } from "../lib/api/chain.ts";
import { routes } from "../lib/api/routes.ts";

/** Whether the API is up. It calls no other service and needs no token. */
export const handler = publicEndpoint(routes.health).handler(async () => ({
  data: { status: "ok", version: "1.0.0" },
}));
