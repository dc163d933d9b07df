import { publicEndpoint } from "../lib/api/chain.ts";
import { route } from "../lib/api/routes/health.ts";

/** Whether the API is up. It calls no other service and needs no token. */
export const handler = publicEndpoint(route).handler(async () => ({
  data: { status: "ok", version: "1.0.0" },
}));
