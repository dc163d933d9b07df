import { setDefaultCACertificates } from "node:tls";
import { vi } from "vitest";

interface AtStart {
  env: NodeJS.ProcessEnv;
  variables: NodeJS.ProcessEnv;
  stdout: typeof process.stdout.write;
  stderr: typeof process.stderr.write;
  /** The certificates that the process trusted before a test had it trust another: test/support/tls.ts. */
  trusted?: string[] | undefined;
}

declare global {
  /** The process before its first test file. A global, because all modules are loaded again for each file. */
  var processAtStart: AtStart | undefined;
}

/**
 * A worker runs many test files, one after another: to start a process and to load the packages takes longer than most
 * files. This module comes first in each file. It restores the environment, the output, the clock and the trusted
 * certificates of the process, and has all modules but those of packages loaded again. So each file is an instance of
 * its own, with its own caches, connections and circuit breaker.
 */
globalThis.processAtStart ??= {
  env: process.env,
  variables: { ...process.env },
  stdout: process.stdout.write,
  stderr: process.stderr.write,
};
const { env, variables, stdout, stderr } = globalThis.processAtStart;

process.env = env; // a test may have put another object there
for (const name of Object.keys(env)) if (!(name in variables)) delete env[name];
Object.assign(env, variables);
process.stdout.write = stdout;
process.stderr.write = stderr;
if (globalThis.processAtStart.trusted) {
  setDefaultCACertificates(globalThis.processAtStart.trusted);
  globalThis.processAtStart.trusted = undefined;
}
vi.useRealTimers();
vi.resetModules();
