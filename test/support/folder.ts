import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";

/** A folder of each test's own. Importing this registers the hooks that make it and, after all other hooks, remove it. */
export let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "scalai-test-"));
});
afterEach(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
