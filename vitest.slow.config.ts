import { defineConfig } from "vitest/config";
import base from "./vitest.config.ts";

/** `npm run crash`, `npm run model` and `npm run guards`: they take minutes, so they are not among the tests. */
export default defineConfig({
  test: { ...base.test, include: ["test/crash/*.ts", "test/model/*.ts", "test/guards/*.ts"] },
});
