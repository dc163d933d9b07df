import { defineConfig } from "vitest/config";
import base from "./vitest.config.ts";

/** `npm run prove -- crash`, `model`, `guards` and `failover`: they take minutes, so they are not among the tests. */
export default defineConfig({
  test: { ...base.test, include: ["crash", "model", "guards", "failover"].map((proof) => `test/${proof}/*.ts`) },
});
