import { fork } from "node:child_process";
import { once } from "node:events";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const POLITE_MS = 500;

/** How to run a service of ours as a child process. */
export interface ChildOptions {
  /** Its name in messages. Default: the file's name. */
  name?: string;
  args?: string[];
  env?: NodeJS.ProcessEnv;
  /** Called once if it ends after it was ready and without `stop()`, with a line that says what happened. */
  onExit?: ((line: string) => void) | undefined;
  onStdout?: (line: string) => void;
  onStderr?: ((line: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** A service that is ready. `about` is what it reported. */
export interface Child<About> {
  about: About;
  pid: number;
  /** Ends it, by SIGKILL after half a second, and waits until it has ended. */
  stop(): Promise<void>;
}

/**
 * Forks a service that follows `serve()` of service.ts and waits until it is ready.
 *
 * The service has a session of its own, so Ctrl-C in the terminal reaches only this process, which decides the order of
 * the ends. When this process ends, the IPC channel closes and the service ends too.
 *
 * @throws When it ends before it is ready, with the line of its stderr that says why.
 */
export async function startChild<About>(file: URL, options: ChildOptions = {}): Promise<Child<About>> {
  options.signal?.throwIfAborted();
  const name = options.name ?? basename(fileURLToPath(file), ".ts");
  const child = fork(file, options.args ?? [], {
    env: options.env ?? process.env,
    detached: true,
    execArgv: [],
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  const errors: string[] = [];
  if (child.stdout) createInterface(child.stdout).on("line", (line) => options.onStdout?.(line));
  if (child.stderr) {
    createInterface(child.stderr).on("line", (line) => {
      options.onStderr?.(line);
      if (errors.length < 50) errors.push(line);
    });
  }

  const exited = once(child, "exit");
  let stopping = false;
  const stop = async () => {
    stopping = true;
    child.kill("SIGTERM");
    const force = setTimeout(() => child.kill("SIGKILL"), POLITE_MS);
    await exited;
    clearTimeout(force);
  };
  const ended = exited.then(async ([code, signal]) => {
    if (child.stderr && !child.stderr.readableEnded && !signal) await once(child.stderr, "end"); // its last lines
    const said = complaint(errors);
    return `${name} ended (${signal ?? `exit code ${code}`})${said ? `: ${said}` : ""}`;
  });

  const { promise: ready, resolve, reject } = Promise.withResolvers<About>();
  child.once("message", ({ ready }: { ready: About }) => resolve(ready));
  void ended.then((line) => reject(new Error(line)));
  const abort = () => reject(options.signal?.reason);
  options.signal?.addEventListener("abort", abort, { once: true });
  try {
    const about = await ready;
    void ended.then((line) => stopping || options.onExit?.(line));
    return { about, pid: child.pid ?? 0, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", abort);
  }
}

/** Of a stack trace, the line with the message; else the last line. */
function complaint(lines: string[]): string {
  const message = lines.find((line) => /^(Uncaught )?\w*Error\b.*: /.test(line));
  return (message ?? lines.findLast((line) => line.trim() !== "") ?? "")
    .replace(/^Uncaught |^Error: /, "")
    .slice(0, 300);
}
