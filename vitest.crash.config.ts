import { defineConfig } from "vitest/config";
import base from "./vitest.config.ts";

/** `npm run crash`: kills a request at each of its outward calls. It takes minutes, so it is not among the tests. */
export default defineConfig({ test: { ...base.test, include: ["test/crash/*.ts"] } });
