import { defineConfig } from "vitest/config";
import base from "./vitest.config.ts";

const { include: _, globalSetup, ...rest } = base.test ?? {};
/** Each file has a process of its own, in which nothing of another file is left. */
const isolated = { ...rest, setupFiles: ["test/support/instance.ts"], isolate: true };
const files = ["test/**/*.proof.ts", "packages/*/test/**/*.proof.ts"];

/**
 * What they find depends on the order in which things happen, so they have the machine for themselves. After the
 * restore of a stage no sweep on its central database, which the proofs share, searches for orphans for a while.
 */
const alone = ["test/crash/*.proof.ts", "test/guards/*.proof.ts", "test/restore.proof.ts"];

/** What `npm run prove` runs. */
export default defineConfig({
  test: {
    globalSetup,
    projects: [
      {
        test: {
          ...isolated,
          name: "together",
          include: files,
          exclude: alone,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      { test: { ...isolated, name: "alone", include: alone, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
