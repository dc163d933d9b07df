import { compose } from "../lib/chain.ts";
import { routes } from "../lib/routes.ts";

/** Whether the API is up: asks nobody, needs no token. */
export const handler = compose(routes.health).handler(async () => ({ data: { status: "ok", version: "1.0.0" } }));
