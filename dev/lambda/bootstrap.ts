/**
 * Replaces AWS's Node runtime inside a function's process: loads the handler that `_HANDLER` names and gets one event
 * after the other from the Runtime API. The host bundles this file.
 *
 * AWS's own client, aws-lambda-ric, is not used: its install script builds curl and a native addon with cmake and a
 * compiler. This client sends HTTP over a plain socket, because a function would seem to start faster than on AWS if
 * node:http were already loaded.
 *
 * @see docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
 * @see github.com/aws/aws-lambda-nodejs-runtime-interface-client
 */
import { connect, type Socket } from "node:net";
import { join } from "node:path";

interface Answer {
  headers: Map<string, string>;
  body: string;
}

/** The Runtime API, over one connection that the host keeps open. */
class RuntimeApi {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #arrived = () => {};

  constructor(host: string, port: number) {
    this.#socket = connect(port, host);
    this.#socket.on("data", (piece) => {
      this.#received = Buffer.concat([this.#received, piece]);
      this.#arrived();
    });
    this.#socket.on("close", () => process.exit(1)); // the host has ended
  }

  async ask(method: "GET" | "POST", path: string, body?: string): Promise<Answer> {
    const length = body === undefined ? "" : `content-length: ${Buffer.byteLength(body)}\r\n`;
    this.#socket.write(`${method} /2018-06-01/runtime/${path} HTTP/1.1\r\nhost: lambda\r\n${length}\r\n${body ?? ""}`);
    for (;;) {
      const answer = this.#take();
      if (answer) return answer;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }

  /** An answer, once it is complete. The host always sends a content-length. */
  #take(): Answer | undefined {
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return undefined;
    const [, ...lines] = this.#received.toString("latin1", 0, end).split("\r\n");
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const bodyEnd = end + 4 + Number(headers.get("content-length") ?? 0);
    if (this.#received.length < bodyEnd) return undefined;
    const body = this.#received.toString("utf8", end + 4, bodyEnd);
    this.#received = this.#received.subarray(bodyEnd);
    return { headers, body };
  }
}

type Handler = (event: unknown, context: object) => unknown;

const {
  AWS_LAMBDA_RUNTIME_API: api = "",
  AWS_LAMBDA_FUNCTION_NAME: functionName = "",
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE: memoryLimitInMB = "",
  LAMBDA_TASK_ROOT: root = "",
  _HANDLER: name = "",
} = process.env;
const [host = "", port = ""] = api.split(":");
const runtime = new RuntimeApi(host, Number(port));
let current: string | undefined;

/** Reports an uncaught error and ends the process, as on AWS. */
async function die(error: unknown): Promise<void> {
  await runtime.ask("POST", current ? `invocation/${current}/error` : "init/error", describe(error));
  process.exit(1);
}

function describe(error: unknown): string {
  const { name: errorType, message, stack } = error instanceof Error ? error : new Error(String(error));
  return JSON.stringify({ errorType, errorMessage: message, trace: stack?.split("\n") });
}

function load(): Handler {
  const [file = "", exported = ""] = name.split(".");
  const handler: unknown = require(join(root, `${file}.cjs`))[exported];
  if (typeof handler !== "function") throw new Error(`${name} is undefined or not exported`);
  if (handler.length > 2) throw new Error("Lambda's Node 24 supports no callbacks: return a promise");
  return handler as Handler;
}

/** Runs one invocation. Its result is sent when the handler's promise resolves; then the process is frozen in any case. */
async function serve(handler: Handler): Promise<void> {
  const { headers, body } = await runtime.ask("GET", "invocation/next");
  const awsRequestId = headers.get("lambda-runtime-aws-request-id") ?? "";
  const deadline = Number(headers.get("lambda-runtime-deadline-ms"));
  current = awsRequestId;
  process.env._X_AMZN_TRACE_ID = headers.get("lambda-runtime-trace-id") ?? "";
  const context = {
    callbackWaitsForEmptyEventLoop: true, // without effect: only for handlers with a callback
    functionName,
    functionVersion: "$LATEST",
    invokedFunctionArn: headers.get("lambda-runtime-invoked-function-arn"),
    memoryLimitInMB,
    awsRequestId,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  try {
    const result = await handler(JSON.parse(body), context);
    await runtime.ask("POST", `invocation/${awsRequestId}/response`, JSON.stringify(result) ?? "null");
  } catch (error) {
    await runtime.ask("POST", `invocation/${awsRequestId}/error`, describe(error));
  }
  current = undefined;
}

process.on("uncaughtException", die);
process.on("unhandledRejection", die);
try {
  const handler = load();
  void (async () => {
    for (;;) await serve(handler);
  })();
} catch (error) {
  void die(error);
}
