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

/** What is hosted. */
export interface FunctionOptions {
  /** The folder with `index.cjs`. */
  folder: string;
  name: string;
  /** Its own variables. Of ours it sees none. */
  environment: NodeJS.ProcessEnv;
  /** It is killed when an invocation takes longer. */
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
  /** From the process' start until it asked for its first event; absent when the process was there already. */
  initMs?: number;
  /** From the event to the answer. */
  ms: number;
}

/** A function on its Lambda. */
export interface LambdaFunction {
  /** Runs it once, in its frozen process or, if there is none, in a new one. One invocation at a time. */
  invoke(event: unknown): Promise<Invocation>;
  /** Its process; undefined before the first invocation, and when the last one was killed. */
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
  /** It has asked for its next event, and is frozen: what is asked for goes into this. */
  asked: PromiseWithResolvers<ServerResponse>;
  /** How the present invocation ends, or before the first one the start. */
  outcome: PromiseWithResolvers<Outcome>;
}

/** Lambda gives a function this long to start. */
const startMs = 10_000;

/**
 * Hosts a bundle as Lambda does: the Runtime API, one process that is frozen whenever it has nothing to do, its timers
 * with it, a deadline, and the end of a process that passes it. What it does not imitate: the sandbox itself, fetching
 * the code, and the share of a CPU that goes with the memory.
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

  function start(): Sandbox {
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
      if (sandbox === started) sandbox = undefined;
      started.outcome.resolve({ status: "exited", result: `${child.signalCode ?? `exit code ${child.exitCode}`}` });
    });
    return started;
  }

  async function invoke(event: unknown): Promise<Invocation> {
    const isCold = sandbox === undefined;
    sandbox ??= start();
    const used = sandbox;
    const cancelStart = killAfter(used, startMs, options.name);
    const question = await Promise.race([used.asked.promise, used.outcome.promise]);
    cancelStart();

    const init = isCold && used.initMs !== undefined ? { initMs: used.initMs } : {};
    if (!(question instanceof ServerResponse)) return { ...(await rest(used, question)), ...init, ms: 0 };

    used.asked = Promise.withResolvers();
    const cancel = killAfter(used, options.timeoutMs, options.name);
    const startedAt = performance.now();
    used.child.kill("SIGCONT");
    const body = JSON.stringify(event);
    question.writeHead(200, { ...headersOf(options), "content-length": Buffer.byteLength(body) }).end(body);
    const outcome = await used.outcome.promise;
    const ms = performance.now() - startedAt;
    cancel();
    return { ...(await rest(used, outcome)), ...init, ms };
  }

  return {
    invoke,
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

/** One request of the process to the Runtime API. */
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

/** Until the process is frozen again, or gone: only then is an invocation over, and the next one has its own outcome. */
async function rest(sandbox: Sandbox, outcome: Outcome): Promise<Outcome> {
  const isLast = outcome.status === "timed out" || outcome.status === "init failed";
  await (isLast ? sandbox.exited : Promise.race([sandbox.asked.promise, sandbox.exited]));
  sandbox.outcome = Promise.withResolvers();
  return outcome;
}

/** @returns What calls it off. */
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

/** What Lambda sets besides a function's own, except credentials: our functions have none to use. */
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
