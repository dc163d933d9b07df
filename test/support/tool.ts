import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

/** How a program ended. */
export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command of `npm run ops`, or of another script, to its end, in a process with this instance's environment. */
export function tool(
  command: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  script = "ops/main.ts",
): Promise<Ended> {
  const path = fileURLToPath(new URL(`../../${script}`, import.meta.url));
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = execFile(
    process.execPath,
    [path, ...command.split(" ").filter(Boolean), ...args],
    { env: { ...process.env, ...env } },
    (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
  );
  return promise;
}
