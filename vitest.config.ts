import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Node keeps compiled code here: a tool that a test starts is there in half the time.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("node_modules/.cache/node", import.meta.url));

export default defineConfig({
  test: {
    // Exports: the folder deletes what is older than a day by itself.
    env: { FILES_FOLDER: fileURLToPath(new URL("node_modules/.cache/test-files", import.meta.url)) },
    include: ["test/**/*.test.ts", "packages/*/test/**/*.test.ts"],
    globalSetup: ["test/support/services.ts"],
    setupFiles: ["test/support/fresh.ts", "test/support/instance.ts"],
    // Otherwise printed text bypasses the streams in which test/support/instance.ts looks for secrets.
    disableConsoleIntercept: true,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 20_000 } }, // for a busy machine; the default is a second
    // A worker runs many files; test/support/fresh.ts makes each of them an instance of its own.
    isolate: false,
    sequence: { setupFiles: "list" },
    // Twice as many as two cores, because half of a test's time is a wait for a deadline or another process.
    maxWorkers: 4,
  },
});
