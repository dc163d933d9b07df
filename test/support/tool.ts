import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { vi } from "vitest";

/** How a command ended. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

type Script = "ops/main.ts" | "dev/local.ts";

/** Runs a command of a script to its end, in a process with this instance's environment. */
export function spawned(
  command: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  script: Script = "ops/main.ts",
): Promise<Ended> {
  return program(`${script} ${command}`, args, env);
}

/** Runs a program of the project to its end: a path, and what comes before its arguments. */
export function program(line: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const [file = "", ...first] = line.split(" ").filter(Boolean);
  const path = fileURLToPath(new URL(`../../${file}`, import.meta.url));
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = execFile(
    process.execPath,
    [path, ...first, ...args],
    { env: { ...process.env, ...env } },
    (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
  );
  return promise;
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Runs a command in this process, with modules of its own, which takes a tenth of the time. Only one command at a time,
 * because each has its own environment, and everything that is printed while it runs counts as its output.
 */
export function tool(
  command: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  script: Script = "ops/main.ts",
): Promise<Ended> {
  if (env.SST_RESOURCE_App) return spawned(command, args, env, script); // SST reads its links once a process
  const ended = last.then(() => runHere([...command.split(" ").filter(Boolean), ...args], env, script));
  last = ended.catch(() => {});
  return ended;
}

async function runHere(args: string[], env: NodeJS.ProcessEnv, script: Script): Promise<Ended> {
  const before = { env: process.env, exitCode: process.exitCode };
  const output = { stdout: "", stderr: "" };
  const restore = (["stdout", "stderr"] as const).map((name) => {
    const { write } = process[name];
    process[name].write = ((chunk: string | Uint8Array) => {
      output[name] += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
      return true;
    }) as typeof write;
    return () => {
      process[name].write = write;
    };
  });
  process.env = { ...before.env, ...env };
  process.exitCode = 0;
  vi.resetModules();
  try {
    const { dispatch } = await import("../../ops/dispatch.ts");
    await dispatch(await groupOf(script), args);
    return { code: Number(process.exitCode), ...output };
  } finally {
    for (const undo of restore) undo();
    Object.assign(process, before);
    vi.resetModules(); // modules that are imported now get this file's environment
  }
}

const groupOf = async (script: Script) =>
  script === "ops/main.ts" ? (await import("../../ops/main.ts")).ops : (await import("../../dev/local.ts")).local;
