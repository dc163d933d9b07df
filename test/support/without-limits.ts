import { settings } from "../../infra/settings.ts";

/** An environment with limits that no test or measurement reaches. */
export const unlimited = Object.fromEntries(
  Object.keys(settings)
    .filter((name) => name.startsWith("RATE_LIMIT_"))
    .map((name) => [name, "100000000"]),
);
