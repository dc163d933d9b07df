import { randomBytes } from "node:crypto";
import { chmodSync, closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { aboutProcess, isAlive } from "./process.ts";

/** The default folder for the data of `npm start`. */
export const DEFAULT_FOLDER = join(import.meta.dirname, "..", "..", ".local");

const PID = "start.pid";
const CONTENT = [
  PID,
  "dev.json",
  "gateway.log",
  "services.log",
  "secrets.json",
  "mongo",
  "redis",
  "retell.json",
  "files",
];

/**
 * Takes the data folder for this process.
 *
 * @returns A function that releases it.
 * @throws When another `npm start` uses it.
 */
export async function takeFolder(folder: string): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, PID);
  for (;;) {
    try {
      await writeFile(file, String(process.pid), { flag: "wx" });
      return () => rm(file, { force: true });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    const pid = await holderOf(folder);
    if (pid) throw new Error(`npm start runs already, with the data in ${folder} (process ${pid}).`);
    await rm(file, { force: true }); // left by a process that was killed
  }
}

/** The names of what `npm start` has stored in its data folder. */
export async function contentOf(folder: string): Promise<string[]> {
  const names: string[] = await readdir(folder).catch(() => []);
  return CONTENT.filter((name) => names.includes(name));
}

/** Deletes what `npm start` keeps in its data folder, and nothing else: the folder may be another one by mistake. */
export async function emptyFolder(folder: string): Promise<void> {
  for (const name of CONTENT) await rm(join(folder, name), { recursive: true, force: true });
}

/** The process that uses the data folder now. */
export async function holderOf(folder: string): Promise<number | undefined> {
  const pid = Number(await readFile(join(folder, PID), "utf8").catch(() => ""));
  return pid > 0 && isStart(pid) ? pid : undefined;
}

/** Whether this process runs and is an `npm start`: after a crash its pid may belong to another program. */
function isStart(pid: number): boolean {
  return isAlive(pid) && (aboutProcess(pid)?.args.includes("start") ?? true);
}

/** Writes a file with secrets, atomically and readable by its owner only. */
export async function writePrivate(file: string, content: object): Promise<void> {
  const temporary = `${file}.${process.pid}`;
  await writeFile(temporary, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  await rename(temporary, file);
}

/** Makes a file readable by its owner only, and creates it if it is missing. Its content stays. */
export function makePrivate(file: string): void {
  closeSync(openSync(file, "a", 0o600));
  chmodSync(file, 0o600); // an earlier version may have created it with other rights
}

/** JWT_SECRET and ENCRYPTION_KEY: from the environment, otherwise generated once and kept in the data folder. */
export async function secretsOf(folder: string): Promise<{ JWT_SECRET: string; ENCRYPTION_KEY: string }> {
  const file = join(folder, "secrets.json");
  const stored = await readFile(file, "utf8").catch(() => "");
  const kept: Partial<Record<"JWT_SECRET" | "ENCRYPTION_KEY", string>> = stored ? JSON.parse(stored) : {};
  const { JWT_SECRET = fresh(), ENCRYPTION_KEY = fresh() } = kept;
  if (!kept.JWT_SECRET || !kept.ENCRYPTION_KEY) await writePrivate(file, { JWT_SECRET, ENCRYPTION_KEY });
  return {
    JWT_SECRET: given("JWT_SECRET") ?? JWT_SECRET,
    ENCRYPTION_KEY: given("ENCRYPTION_KEY") ?? ENCRYPTION_KEY,
  };
}

/** A variable of the environment, read as `lib/platform/config.ts` reads it. */
export const given = (name: string): string | undefined => process.env[name]?.trim() || undefined;

const fresh = () => randomBytes(32).toString("hex");
