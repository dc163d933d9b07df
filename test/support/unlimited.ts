import { unlimited } from "./without-limits.ts";

/** For tests that send more than a minute's worth. Imported before anything that reads the configuration. */
Object.assign(process.env, unlimited);
