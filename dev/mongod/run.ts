import { fork } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { KeeperReport } from "./keeper.ts";

const LISTENING = 23016; // ids of mongod's log lines are stable across versions, their texts are not

/** Runs mongod under a keeper in a new session, so that Ctrl-C in the terminal reaches only this process. */
export function runKept(folder: string, binary: string, flags: string[]) {
  const keeper = fork(new URL("keeper.ts", import.meta.url), [folder, binary, ...flags], {
    detached: true,
    execArgv: [],
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let pid = 0;
  let exit = "";
  keeper.on("message", (report: KeeperReport) => {
    if ("pid" in report) pid = report.pid;
    else exit = report.exit;
  });
  if (!keeper.stdout || !keeper.stderr) throw new TypeError("The keeper's output is not piped");
  const log = readLog(keeper.stdout, keeper.stderr);

  const closed = once(keeper, "close"); // its last report and mongod's last lines have been read
  const ended = once(keeper, "exit").then(async ([, signal]) => {
    if (signal && pid) killIfAlive(pid); // the keeper was killed: end its mongod
    await closed;
    if (folder) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    const how = exit || `its keeper was ended by ${signal}`;
    return log.complaint() ? `${log.complaint()} (${how})` : how;
  });
  const stop = async () => {
    keeper.kill("SIGTERM"); // disconnect() would do, but after it Node never reports "close"
    await ended;
  };
  return { listening: log.listening, ended, stop, pid: () => pid };
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Reads from mongod's log on which port it listens, and why it did not start or ended. */
function readLog(stdout: Readable, stderr: Readable) {
  let complaint = "";
  let worthReading = new RegExp(`"id":${LISTENING}\\b|"s":"[FE]"`); // it may log hundreds of lines a second
  const { promise: listening, resolve: listen } = Promise.withResolvers<number>();
  createInterface(stderr).on("line", (line) => {
    complaint ||= line; // an unknown argument, a missing library
  });
  createInterface(stdout).on("line", (line) => {
    if (!worthReading.test(line) || !line.endsWith("}")) return; // an incomplete line of a killed mongod
    const { id, msg, attr }: LogLine = JSON.parse(line);
    if (id === LISTENING) {
      complaint = "";
      worthReading = /"s":"F"/; // from now on, only fatal errors are mongod's own
      listen(attr?.port ?? 0);
    } else complaint ||= `${msg}${attr?.error ? `: ${text(attr.error)}` : ""}`;
  });
  return { listening, complaint: () => complaint };
}

interface LogLine {
  id: number;
  msg: string;
  attr?: { port?: number; error?: unknown };
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** @throws An error that says why mongod did not start. */
export function refuse(reason: string): never {
  throw new Error(`mongod did not start: ${reason}`);
}

/** Rejects when the signal is aborted. */
export function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
