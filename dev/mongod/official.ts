import { fork } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { MongoBinary } from "mongodb-memory-server-core";
import type { Mongod, Search } from "./binary.ts";

const FIRST_BYTES_WITHIN_MS = 20_000;
const SILENT_AT_MOST_MS = 90_000;

/**
 * Lets mongodb-memory-server download the mongod that MongoDB publishes for this system.
 *
 * In a process of its own, because by itself the library waits a minute for each of three attempts and cannot be
 * stopped, and because it only checks the server's certificate when npm's `strict-ssl` is in the environment.
 */
export async function downloadOfficial({ cache, say, signal }: Search): Promise<Mongod> {
  signal?.throwIfAborted();
  const env = { npm_config_strict_ssl: "true", MONGOMS_MAX_RETRIES: "1", ...process.env, MONGOMS_DOWNLOAD_DIR: cache };
  const child = fork(import.meta.filename, [], { env, execArgv: [], stdio: ["ignore", "pipe", "ignore", "ipc"] });
  let found: Mongod | undefined;
  let reason = "no answer in time";
  child.on("message", (report: { found: Mongod } | { reason: string }) => {
    if ("found" in report) found = report.found;
    else reason = report.reason;
  });

  const stop = () => void child.kill("SIGKILL");
  signal?.addEventListener("abort", stop, { once: true });
  let watch = setTimeout(stop, FIRST_BYTES_WITHIN_MS);
  let said = false;
  if (child.stdout) {
    createInterface(child.stdout).on("line", (line) => {
      clearTimeout(watch);
      watch = setTimeout(stop, SILENT_AT_MOST_MS);
      const [, version, size] = /"(.+?)".* ([\d.]+)mb\)/.exec(line) ?? [];
      if (!said && size) say(`Downloading mongod ${version} by mongodb-memory-server, ${size} MB, once ...`);
      said ||= Boolean(size);
    });
  }

  await once(child, "close");
  clearTimeout(watch);
  signal?.removeEventListener("abort", stop);
  if (!found) throw new Error(reason);
  return found;
}

async function download(): Promise<{ found: Mongod } | { reason: string }> {
  try {
    const binary = await MongoBinary.getPath();
    return { found: { binary, source: "mongod downloaded by mongodb-memory-server" } };
  } catch (error) {
    const { message } = error instanceof Error ? error : new Error(String(error));
    return { reason: message.replace(/^[\s\S]*Details:\s*/, "") }; // the text before it is only the address
  }
}

if (import.meta.main) process.send?.(await download(), () => process.exit());
