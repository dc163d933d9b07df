import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { promisify } from "node:util";

/** A mongod that runs on this machine. `source` says where it comes from. */
export interface Mongod {
  binary: string;
  source: string;
}

/** The input of each way of getting a mongod. */
export interface Search {
  /** The per-user folder that mongodb-memory-server keeps its binaries in: shared by checkouts, survives `npm ci`. */
  cache: string;
  /** Gets a line for the user when a download begins. */
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
 * @throws When it cannot run here, because a library is missing or it was built for another system.
 */
export async function versionOf(binary: string): Promise<string> {
  const failed = (error: unknown) => {
    const stderr = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
    throw new Error(`${binary} does not run: ${stderr || brief(error)}`);
  };
  const { stdout } = await promisify(execFile)(binary, ["--version"], { timeout: 20_000 }).catch(failed);
  return /db version v(\S+)/.exec(stdout)?.[1] ?? "of unknown version";
}

/** The first line of an error, at most 160 characters. */
export function brief(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (message.split("\n")[0] ?? "").slice(0, 160);
}
