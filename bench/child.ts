import { fork } from "node:child_process";
import { once } from "node:events";
import { unlimited } from "../test/support/without-limits.ts";

/** The job of every measurement. */
export interface Job {
  /** Fewer repetitions, smaller loads. */
  quick: boolean;
}

/**
 * Runs a program of this folder in a process of its own, and returns the result that it sends by `tell`. Its log is
 * dropped.
 *
 * @throws When it ends without a result.
 */
export async function run<Result>(file: string, job: object, execArgv: string[] = []): Promise<Result> {
  const child = fork(new URL(file, import.meta.url), [JSON.stringify(job)], {
    execArgv,
    env: { ...process.env, ...unlimited },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const told = once(child, "message");
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`${file} ended with ${code}`);
  });
  const [result] = await Promise.race([told, ended]);
  await ended.catch(() => {});
  return result as Result;
}

/** The job of this process. */
export const job = <Wanted>() => JSON.parse(process.argv[2] ?? "{}") as Wanted;

/** Sends the result to the parent process, or prints it if there is none, and ends the process. */
export function tell(result: unknown): void {
  if (process.send) process.send(result, () => process.exit(0));
  else process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}
