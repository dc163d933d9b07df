import { endpoint } from "../lib/endpoint.ts";
import { routes } from "../lib/routes.ts";

/** Whether the API is up: asks nobody, needs no token. */
export const handler = endpoint(routes.health).handler(async () => ({ data: { status: "ok", version: "1.0.0" } }));
