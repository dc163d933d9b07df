/**
 * Runs one program, such as mongod, that must never outlive the process that started it. `fork()`ed with
 * `[folder to remove at the end or "", command, ...arguments]`, it reports `{ pid }` and later `{ exit }` over IPC.
 *
 * When its parent ends for any reason, the IPC channel closes and the program is killed at once. Polling whether the
 * parent lives, as mongodb-memory-server does, would leave the program running for some seconds.
 */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";

/** A message from a keeper to its parent. */
export type KeeperReport = { pid: number } | { exit: string };

function keep(folder: string, command: string, args: string[]): void {
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  // SIGKILL is safe, since acknowledged writes are in the journal, and SIGTERM takes mongod a second.
  const end = () => void child.kill("SIGKILL");
  const leave = (exit: string) => {
    if (folder) rmSync(folder, { recursive: true, force: true });
    if (process.connected) process.send?.({ exit } satisfies KeeperReport, () => process.exit());
    else process.exit();
  };

  child.once("spawn", () => {
    if (!process.connected) return end();
    // If the parent ends just now, an unhandled error would end this process and leave the program running.
    process.send?.({ pid: child.pid ?? 0 } satisfies KeeperReport, (error: Error | null) => error && end());
  });
  child.once("error", (error) => leave(error.message));
  child.once("exit", (code, signal) => leave(signal ? `signal ${signal}` : `exit code ${code}`));
  process.once("disconnect", end);
  process.once("SIGTERM", end);
  process.on("SIGINT", () => {}); // the parent handles Ctrl-C
}

if (import.meta.main) {
  const [folder = "", command = "", ...args] = process.argv.slice(2);
  keep(folder, command, args);
}
