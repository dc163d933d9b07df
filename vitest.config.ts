import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Node keeps compiled code here: a tool that a test starts is there in half the time.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("node_modules/.cache/node", import.meta.url));

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts", "packages/*/test/**/*.test.ts"],
    globalSetup: ["test/support/services.ts"],
    setupFiles: ["test/support/instance.ts"],
    // Otherwise printed text bypasses the streams in which test/support/instance.ts looks for secrets.
    disableConsoleIntercept: true,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 20_000 } }, // for a busy machine; the default is a second
    // Each file has the modules, and so the caches and the circuit breaker, of an instance of its own.
    isolate: true,
    maxWorkers: 2,
  },
});
