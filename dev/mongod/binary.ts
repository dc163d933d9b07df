import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { promisify } from "node:util";

/** A mongod that runs here, and where it comes from. */
export interface Mongod {
  binary: string;
  source: string;
}

/** What a way of getting a mongod needs to know. */
export interface Search {
  /** The per-user folder that mongodb-memory-server keeps its binaries in: shared by checkouts, survives `npm ci`. */
  cache: string;
  /** Tells whoever waits what is being downloaded. */
  say: (line: string) => void;
  signal: AbortSignal | undefined;
}

/** Whether there is a program at this path. */
export async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/**
 * Asks a mongod for its version.
 *
 * @throws When it cannot run here, for want of a library or because it is made for another system.
 */
export async function versionOf(binary: string): Promise<string> {
  const failed = (error: unknown) => {
    const stderr = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
    throw new Error(`${binary} does not run: ${stderr || brief(error)}`);
  };
  const { stdout } = await promisify(execFile)(binary, ["--version"], { timeout: 20_000 }).catch(failed);
  return /db version v(\S+)/.exec(stdout)?.[1] ?? "of unknown version";
}

/** The first line of an error, cut to what one reads. */
export function brief(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (message.split("\n")[0] ?? "").slice(0, 160);
}
