import { unlimited } from "./without-limits.ts";

/** For tests that send more than the limits of a minute. Import it before anything that reads the configuration. */
Object.assign(process.env, unlimited);
