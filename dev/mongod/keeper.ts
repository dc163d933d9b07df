/**
 * Runs one foreign program, such as mongod, that must never outlive whoever asked for it: `fork()`ed with
 * `[folder to remove at the end or "", command, ...arguments]`, it reports `{ pid }` and later `{ exit }` over IPC.
 *
 * When its parent goes, however it went, the channel closes and the program is killed. A watcher that asks every few
 * seconds whether the parent lives, as mongodb-memory-server has it, leaves the program running in between.
 */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";

/** What a keeper tells its parent. */
export type KeeperReport = { pid: number } | { exit: string };

function keep(folder: string, command: string, args: string[]): void {
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  // Killed, not asked: every write that was acknowledged is in the journal, and a polite mongod takes a second.
  const end = () => void child.kill("SIGKILL");
  const leave = (exit: string) => {
    if (folder) rmSync(folder, { recursive: true, force: true });
    if (process.connected) process.send?.({ exit } satisfies KeeperReport, () => process.exit());
    else process.exit();
  };

  child.once("spawn", () => {
    if (!process.connected) return end();
    // The parent may go at this very moment; unheard, the error would end us and leave the program behind.
    process.send?.({ pid: child.pid ?? 0 } satisfies KeeperReport, (error: Error | null) => error && end());
  });
  child.once("error", (error) => leave(error.message));
  child.once("exit", (code, signal) => leave(signal ? `signal ${signal}` : `exit code ${code}`));
  process.once("disconnect", end);
  process.once("SIGTERM", end);
  process.on("SIGINT", () => {}); // Ctrl-C is the parent's to answer
}

if (import.meta.main) {
  const [folder = "", command = "", ...args] = process.argv.slice(2);
  keep(folder, command, args);
}
