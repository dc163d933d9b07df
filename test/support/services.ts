import { randomBytes } from "node:crypto";
import { statfsSync } from "node:fs";
import type { TestProject } from "vitest/node";
import { type Document, openapi } from "../../dev/openapi/document.ts";
import { startServices } from "../../dev/services.ts";

declare module "vitest" {
  interface ProvidedContext {
    environment: Record<string, string>;
    control: { retell: string; upstash: string };
    /** What answers are held against. Made once, because it takes longer than many a test. */
    openapi: Document;
  }
}

/**
 * Starts a mongod, the Upstash emulator and the Retell simulator once for all test files. If TEST_SERVICES has what an
 * earlier setup provided, those services are used.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  project.provide("openapi", openapi());
  if (process.env.TEST_SERVICES) {
    const { environment, control } = JSON.parse(process.env.TEST_SERVICES);
    project.provide("environment", environment);
    project.provide("control", control);
    return async () => {};
  }
  // The tests must not write to services that the developer's shell names.
  for (const name of ["MONGODB_URL", "UPSTASH_REDIS_REST_URL", "RETELL_BASE_URL"]) delete process.env[name];

  // In memory, because the tests create thousands of collections, which takes a quarter of the time on a disk.
  if (freeBytes("/dev/shm") > 2 ** 32) process.env.TMPDIR = "/dev/shm";
  const services = await startServices({
    mongoArgs: ["--setParameter", "enableTestCommands=1"],
    onExit: (line) => console.error(line),
    say: (line) => console.error(line),
  });
  project.provide("control", { retell: services.retell.control, upstash: `${services.upstash.url}/_control` });
  project.provide("environment", {
    STAGE: "test",
    MONGODB_URL: services.mongodb.url,
    UPSTASH_REDIS_REST_URL: services.upstash.url,
    UPSTASH_REDIS_REST_TOKEN: services.upstash.token,
    RETELL_BASE_URL: services.retell.url,
    JWT_SECRET: randomBytes(32).toString("hex"),
    // The key that encrypted the documents of test/old.
    ENCRYPTION_KEY: "old-server-encryption-key-for-tests",
  });
  return () => services.stop();
}

function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return 0; // not on this system
  }
}
