import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { vi } from "vitest";
import type { DevJson } from "../../dev/start/greeting.ts";
import { collect } from "./instance.ts";
import { descendantsOf } from "./processes.ts";

const PROGRAMS = fileURLToPath(new URL("../../dev/", import.meta.url));

/** Variables of the tests' environment that a developer's shell does not have. */
const OURS =
  /^(STAGE|MONGODB_URL|UPSTASH_\w+|RETELL_BASE_URL|JWT_\w+|ENCRYPTION_\w+|POWERTOOLS_LOG_LEVEL|NODE_OPTIONS|npm_lifecycle_event)$/;

/** The end of each running program, by its pid. */
const children = new Map<number, Promise<unknown>>();

/** Runs a program of dev/ in a process of its own, with the variable that tells it that npm runs it. */
export function run(program: string, args: string[], env: NodeJS.ProcessEnv = {}) {
  return watch(process.execPath, [PROGRAMS + program, ...args], { npm_lifecycle_event: "start", ...env });
}

function watch(command: string, args: string[], env: NodeJS.ProcessEnv) {
  const shell = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OURS.test(name)));
  const child = spawn(command, args, {
    cwd: join(PROGRAMS, ".."),
    env: { ...shell, PORT: "0", ...env },
    detached: true, // a process group of its own, as in a terminal
    stdio: ["ignore", "pipe", "pipe"],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command} did not start`); // the pid 0 would stand for our own group
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
    });
  }
  const ended = once(child, "close").then(([code]) => {
    children.delete(pid);
    collect(`${output.stdout}\n${output.stderr}`);
    return { code: Number(code ?? -1), ...output };
  });
  children.set(pid, ended);
  const kill = (signal: NodeJS.Signals) => {
    // Ctrl-C and a closed terminal reach the whole group.
    const isFromTerminal = signal === "SIGINT" || signal === "SIGHUP";
    process.kill(isFromTerminal ? -pid : pid, signal);
    return ended;
  };
  return { output, ended, kill, pid, family: () => descendantsOf(pid) };
}

interface StartOptions {
  args?: string[];
  env?: NodeJS.ProcessEnv;
  /** Start npm itself, not only the program that npm runs. */
  npm?: boolean;
}

/** `npm start` with a data folder of the test's own, once it is ready. */
export async function npmStart(folder: string, { args = [], env = {}, npm = false }: StartOptions = {}) {
  const own = ["--data", folder, ...args];
  const program = npm ? watch("npm", ["start", "--silent", "--", ...own], env) : run("start.ts", own, env);
  let over: object | undefined;
  void program.ended.then((end) => {
    over = end;
  });
  const about = await vi.waitFor(
    async () => {
      if (over) return Promise.reject(over);
      const said: DevJson = JSON.parse(await readFile(join(folder, "dev.json"), "utf8"));
      if (!/\n\n$/.test(program.output.stderr)) throw new Error("still greeting");
      return said;
    },
    { timeout: 50_000, interval: 20 },
  );
  return { ...program, about };
}

/** The shells bash and zsh, if they are installed. */
export const shells = () => ["bash", "zsh"].filter((shell) => spawnSync(shell, ["-c", "true"]).status === 0);

/** For `afterEach`: ends what a failed test left running. */
export async function endAll(): Promise<void> {
  for (const pid of children.keys()) process.kill(-pid, "SIGKILL");
  await Promise.all(children.values());
}
