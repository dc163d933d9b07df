import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts", "packages/*/test/**/*.test.ts"],
    globalSetup: ["test/support/services.ts"],
    setupFiles: ["test/support/instance.ts"],
    // Else what is printed goes around the streams in which test/support/instance.ts looks for what must not be told.
    disableConsoleIntercept: true,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 20_000 } }, // what a busy machine may take to get there; a second by default
    // Each file has the modules, and so the caches and the circuit breaker, of an instance of its own.
    isolate: true,
    maxWorkers: 2,
  },
});
