import { settings } from "../../infra/settings.ts";

/** Limits that nothing reaches: an environment for whoever sends more than a minute's worth. */
export const unlimited = Object.fromEntries(
  Object.keys(settings)
    .filter((name) => name.startsWith("RATE_LIMIT_"))
    .map((name) => [name, "100000000"]),
);
