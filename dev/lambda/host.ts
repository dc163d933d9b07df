import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { PAYLOAD_BYTES } from "../gateway/invoke.ts";

/** The function to host. */
export interface FunctionOptions {
  /** The folder with `index.cjs`. */
  folder: string;
  name: string;
  /** Its own variables. It does not inherit this process's environment. */
  environment: NodeJS.ProcessEnv;
  /** An invocation that takes longer is killed. */
  timeoutMs: number;
  memoryMb: number;
  /** Gets every line of its log. */
  onLog?: (line: string) => void;
}

/** How an invocation ended. */
export interface Invocation {
  status: "answered" | "failed" | "timed out" | "init failed" | "exited";
  /** What the handler returned, or the error that it reported. */
  result: unknown;
  /** Time from the process's start until it asked for its first event; absent if the process existed already. */
  initMs?: number;
  /** Time from the event to the answer. */
  ms: number;
}

/** A hosted function. */
export interface LambdaFunction {
  /** Invokes the function in its frozen process or, if there is none, in a new one. One invocation at a time. */
  invoke(event: unknown): Promise<Invocation>;
  /** The function's process; undefined before the first invocation, and after the process was killed. */
  readonly pid: number | undefined;
  stop(): Promise<void>;
}

type Outcome = Pick<Invocation, "status" | "result">;

/** A process that runs the function, from its start to its end. */
interface Sandbox {
  child: ChildProcess;
  exited: Promise<unknown>;
  startedAt: number;
  initMs: number | undefined;
  /** Resolves when the process has asked for its next event and is frozen; the event is written into this response. */
  asked: PromiseWithResolvers<ServerResponse>;
  /** Resolves with the outcome of the current invocation or, before the first one, of a failed start. */
  outcome: PromiseWithResolvers<Outcome>;
}

/** Lambda's time limit for the start of a function. */
const startMs = 10_000;

/**
 * Hosts a bundle as Lambda does: with the Runtime API, in one process that is frozen (with its timers) whenever it has
 * nothing to do, and with a deadline after which the process is killed. It does not emulate the sandbox itself, the
 * download of the code, or the share of a CPU that depends on the memory.
 */
export async function hostFunction(options: FunctionOptions): Promise<LambdaFunction> {
  const scratch = await mkdtemp(join(tmpdir(), "lambda-"));
  const bootstrap = await bundleBootstrap(scratch);
  let sandbox: Sandbox | undefined;

  const server = createServer((request, response) => {
    if (sandbox) serve(sandbox, request, response).catch(() => response.destroy());
    else response.destroy();
  });
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const forget = (ended: Sandbox) => {
    if (sandbox === ended) sandbox = undefined;
  };

  return {
    async invoke(event) {
      const isCold = sandbox === undefined;
      sandbox ??= start(options, bootstrap, port, forget);
      const used = sandbox;
      const invocation = await invokeIn(used, event, options);
      return isCold && used.initMs !== undefined ? { ...invocation, initMs: used.initMs } : invocation;
    },
    get pid() {
      return sandbox?.child.pid;
    },
    async stop() {
      sandbox?.child.kill("SIGKILL");
      await sandbox?.exited;
      server.close();
      server.closeAllConnections();
      await rm(scratch, { recursive: true });
    },
  };
}

/** Starts a process that asks the Runtime API on this port for its events. */
function start(options: FunctionOptions, bootstrap: string, port: number, onExit: (sandbox: Sandbox) => void): Sandbox {
  const child = spawn(process.execPath, [`--max-old-space-size=${Math.floor(options.memoryMb * 0.9)}`, bootstrap], {
    cwd: options.folder,
    env: { ...variablesOf(options), AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}` },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on("line", (line) => options.onLog?.(line));
  }
  const started: Sandbox = {
    child,
    exited: once(child, "exit"),
    startedAt: performance.now(),
    initMs: undefined,
    asked: Promise.withResolvers(),
    outcome: Promise.withResolvers(),
  };
  void started.exited.then(() => {
    onExit(started);
    started.outcome.resolve({ status: "exited", result: `${child.signalCode ?? `exit code ${child.exitCode}`}` });
  });
  return started;
}

/** Runs one invocation: waits until the process asks for an event, sends it, and waits for the outcome. */
async function invokeIn(sandbox: Sandbox, event: unknown, options: FunctionOptions): Promise<Invocation> {
  const cancelStart = killAfter(sandbox, startMs, options.name);
  const question = await Promise.race([sandbox.asked.promise, sandbox.outcome.promise]);
  cancelStart();
  if (!(question instanceof ServerResponse)) return { ...(await rest(sandbox, question)), ms: 0 };

  sandbox.asked = Promise.withResolvers();
  const cancel = killAfter(sandbox, options.timeoutMs, options.name);
  const startedAt = performance.now();
  sandbox.child.kill("SIGCONT");
  const body = JSON.stringify(event);
  question.writeHead(200, { ...headersOf(options), "content-length": Buffer.byteLength(body) }).end(body);
  const outcome = await sandbox.outcome.promise;
  const ms = performance.now() - startedAt;
  cancel();
  return { ...(await rest(sandbox, outcome)), ms };
}

/** Answers one request of the process to the Runtime API. */
async function serve(sandbox: Sandbox, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url?.replace("/2018-06-01/runtime/", "") ?? "";
  if (path === "invocation/next") {
    sandbox.initMs ??= performance.now() - sandbox.startedAt;
    sandbox.child.kill("SIGSTOP");
    sandbox.asked.resolve(response);
    return;
  }
  const body = await text(request);
  response.writeHead(202, { "content-length": 0 }).end();
  if (Buffer.byteLength(body) > PAYLOAD_BYTES) {
    sandbox.outcome.resolve({ status: "failed", result: { errorType: "Function.ResponseSizeTooLarge" } });
  } else {
    const status = path === "init/error" ? "init failed" : path.endsWith("/response") ? "answered" : "failed";
    sandbox.outcome.resolve({ status, result: JSON.parse(body) });
  }
}

/** Waits until the process is frozen again or has ended: only then may the next invocation begin, with a new outcome. */
async function rest(sandbox: Sandbox, outcome: Outcome): Promise<Outcome> {
  const isLast = outcome.status === "timed out" || outcome.status === "init failed";
  await (isLast ? sandbox.exited : Promise.race([sandbox.asked.promise, sandbox.exited]));
  sandbox.outcome = Promise.withResolvers();
  return outcome;
}

/** @returns A function that cancels the timer. */
function killAfter({ child, outcome }: Sandbox, ms: number, name: string): () => void {
  const timer = setTimeout(() => {
    outcome.resolve({
      status: "timed out",
      result: `${name}: Task timed out after ${(ms / 1_000).toFixed(2)} seconds`,
    });
    child.kill("SIGKILL");
  }, ms);
  return () => clearTimeout(timer);
}

function headersOf({ name, timeoutMs }: FunctionOptions): Record<string, string> {
  return {
    "content-type": "application/json",
    "lambda-runtime-aws-request-id": crypto.randomUUID(),
    "lambda-runtime-deadline-ms": String(Date.now() + timeoutMs),
    "lambda-runtime-invoked-function-arn": `arn:aws:lambda:us-east-1:123456789012:function:${name}`,
    "lambda-runtime-trace-id": `Root=1-${crypto.randomUUID().slice(0, 8)}-${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`,
  };
}

/** The variables that Lambda sets besides a function's own, without credentials: our functions use none. */
function variablesOf({ folder, name, memoryMb, environment }: FunctionOptions): NodeJS.ProcessEnv {
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    TZ: ":UTC",
    LANG: "en_US.UTF-8",
    _HANDLER: "index.handler",
    LAMBDA_TASK_ROOT: folder,
    AWS_EXECUTION_ENV: "AWS_Lambda_nodejs24.x",
    AWS_LAMBDA_INITIALIZATION_TYPE: "on-demand",
    AWS_LAMBDA_FUNCTION_NAME: name,
    AWS_LAMBDA_FUNCTION_VERSION: "$LATEST",
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(memoryMb),
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: "local",
    AWS_REGION: "us-east-1",
    ...environment,
  };
}

async function bundleBootstrap(folder: string): Promise<string> {
  const outfile = join(folder, "bootstrap.cjs");
  const entry = fileURLToPath(new URL("bootstrap.ts", import.meta.url));
  await build({ entryPoints: [entry], outfile, bundle: true, platform: "node", format: "cjs" });
  return outfile;
}
