import { defineConfig } from "vitest/config";
import base from "./vitest.config.ts";

const { include: _, globalSetup, maxWorkers, ...rest } = base.test ?? {};
const files = ["test/**/*.proof.ts", "packages/*/test/**/*.proof.ts"];

/** What they find depends on the order in which things happen, so they have the machine for themselves. */
const alone = ["test/crash/*.proof.ts", "test/guards/*.proof.ts"];

/** What `npm run prove` runs. */
export default defineConfig({
  test: {
    globalSetup,
    projects: [
      { test: { ...rest, name: "together", include: files, exclude: alone, maxWorkers, sequence: { groupOrder: 0 } } },
      { test: { ...rest, name: "alone", include: alone, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
