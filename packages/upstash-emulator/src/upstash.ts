import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import * as z from "zod";
import { refusalOf } from "../../../dev/loopback.ts";
import { serve } from "../../../dev/service.ts";
import { type Backend, Commands, RedisError } from "./commands.ts";
import { Control, Fault } from "./control.ts";
import { startMock } from "./mock.ts";
import { MAX_REQUEST_BYTES, Refusal, readCommands, toAnswer } from "./rest.ts";
import { findRedisServer, startServer } from "./server.ts";

/** How to start the emulator; everything has a default. */
export interface UpstashOptions {
  /** Absent or 0: a free one. */
  port?: number;
  /** What clients must send as their bearer token. Default: a new one, which nobody else knows. */
  token?: string;
  /** `auto`, the default: a Redis server when there is one on PATH, else `mock`, a twin in this process. */
  backend?: "auto" | "server" | "mock";
  /** Where a Redis server keeps its data from run to run. Absent, and always with the mock, they end with us. */
  dataDir?: string;
  /** Which redis-server or valkey-server; absent, the first on PATH. */
  redisBinary?: string;
  /** Called if the Redis server ends without `stop()`, with a line that says why. */
  onExit?: (line: string) => void;
}

/** A running emulator, on 127.0.0.1. */
export interface Upstash {
  url: string;
  token: string;
  /** What keeps the data: `redis-server`, `valkey-server` or `ioredis-mock`. */
  backend: string;
  stop(): Promise<void>;
}

/**
 * Starts an emulator of Upstash's Redis REST API.
 *
 * Besides the API it serves, without a token, `/_control`: `GET stats`, `POST stats/reset`, `POST flush` and `POST fault`
 * with a `Fault`.
 *
 * @throws  An error with code EADDRINUSE when the port is taken, others when there is no Redis server or it fails.
 */
export async function startUpstash(options: UpstashOptions = {}): Promise<Upstash> {
  const { port = 0, token = randomBytes(24).toString("hex") } = options;
  const backend = await startBackend(options);
  const emulator = new Emulator(backend, token);
  const server = createServer((request, response) => void emulator.handle(request, response));
  const stop = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    await backend.stop();
  };

  const { promise: listening, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject).listen(port, "127.0.0.1", resolve);
  try {
    await listening;
  } catch (error) {
    await backend.stop();
    throw error;
  }
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new TypeError("an HTTP server has a port");
  return { url: `http://127.0.0.1:${address.port}`, token, backend: backend.name, stop };
}

function startBackend({ backend = "auto", dataDir, redisBinary, onExit }: UpstashOptions): Promise<Backend> {
  const binary = backend === "mock" ? undefined : (redisBinary ?? findRedisServer());
  if (binary) return startServer(binary, dataDir, onExit);
  if (backend === "server") throw new Error("There is no redis-server or valkey-server on PATH.");
  return startMock();
}

class Emulator {
  readonly #commands: Commands;
  readonly #backend: Backend;
  readonly #token: string;
  readonly #control = new Control();

  constructor(backend: Backend, token: string) {
    this.#backend = backend;
    this.#commands = new Commands(backend);
    this.#token = token;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const refusal = refusalOf(request);
      if (refusal) throw new Refusal(403, refusal);
      const url = new URL(request.url ?? "/", "http://127.0.0.1");
      if (url.pathname.startsWith("/_control/")) await this.#handleControl(url.pathname, request, response);
      else await this.#handleRest(url, request, response);
    } catch (error) {
      if (error instanceof Refusal) send(response, error.status, { error: error.message });
      else send(response, 500, { error: `ERR ${error instanceof Error ? error.message : error}` });
    }
  }

  async #handleRest(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const fault = this.#control.onRequest();
    switch (fault.kind) {
      case "down":
      case "drop":
        request.socket.destroy();
        return;
      case "garbage":
        response.setHeader("content-type", "text/html").end("<html>This is not the JSON that you expected.</html>");
        return;
      case "error500":
        throw new Refusal(500, "ERR internal error");
    }

    const { status, body } = await this.#answer(url, request);
    if (fault.kind === "slow") await delay(fault.ms, undefined, { ref: false });
    send(response, status, body);
  }

  async #answer(url: URL, request: IncomingMessage): Promise<{ status: number; body: unknown }> {
    if (!["HEAD", "GET", "POST", "PUT"].includes(request.method ?? "")) throw new Refusal(405, "Method Not Allowed");
    const given = url.searchParams.get("_token") ?? /^Bearer\s+(.*)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (given !== this.#token) throw new Refusal(401, "WRONGPASS invalid or missing auth token");
    if ((request.headers["upstash-response-format"] ?? "json") !== "json") {
      throw new Refusal(400, "ERR this emulator answers in JSON only");
    }

    const asked = readCommands(url, await readBody(request));
    const isBase64 = request.headers["upstash-encoding"] === "base64";
    const commands = asked.kind === "single" ? [asked.command] : asked.commands;
    for (const [name] of commands) this.#control.onCommand(name);

    if (asked.kind === "multi-exec") return this.#transaction(commands, isBase64);
    const answers = (await this.#commands.run(commands)).map((reply) => toAnswer(reply, isBase64));
    if (asked.kind === "pipeline") return { status: 200, body: answers };
    const [answer] = answers;
    return { status: answer && "error" in answer ? 400 : 200, body: answer };
  }

  async #transaction(commands: Parameters<Commands["transaction"]>[0], isBase64: boolean) {
    try {
      const replies = await this.#commands.transaction(commands);
      return { status: 200, body: replies.map((reply) => toAnswer(reply, isBase64)) };
    } catch (error) {
      if (error instanceof RedisError) throw new Refusal(400, error.message); // discarded as a whole
      throw error;
    }
  }

  async #handleControl(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request);
    switch (`${request.method} ${path}`) {
      case "GET /_control/stats":
        return send(response, 200, this.#control.stats);
      case "POST /_control/stats/reset":
        this.#control.reset();
        break;
      case "POST /_control/flush":
        await this.#backend.run([["FLUSHALL"]]);
        break;
      case "POST /_control/fault":
        this.#control.play(readFault(body));
        break;
      default:
        throw new Refusal(404, "Only GET stats, POST stats/reset, POST fault and POST flush are here.");
    }
    send(response, 200, { ok: true });
  }
}

function readFault(body: Buffer): Fault {
  let json: unknown;
  try {
    json = JSON.parse(body.toString());
  } catch {
    throw new Refusal(400, "the body is not JSON");
  }
  const fault = Fault.safeParse(json);
  if (!fault.success) throw new Refusal(400, z.prettifyError(fault.error));
  return fault.data;
}

/** @throws  Refusal with status 413 above Upstash's limit; read to its end all the same, or the client sees a reset. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes <= MAX_REQUEST_BYTES) chunks.push(chunk);
  }
  if (bytes > MAX_REQUEST_BYTES) {
    throw new Refusal(413, `ERR max request size exceeded. Limit: ${MAX_REQUEST_BYTES} bytes, Actual: ${bytes} bytes`);
  }
  return Buffer.concat(chunks);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

const USAGE =
  "Usage: node packages/upstash-emulator/src/upstash.ts [--port N] [--token T] [--backend auto|server|mock] [--data DIR]";

const Flags = z.object({
  port: z.coerce.number("--port takes a number").int().min(0).max(65_535).optional(),
  token: z.string().regex(/^\S+$/, "--token takes a word").optional(),
  backend: z.enum(["auto", "server", "mock"], "--backend is auto, server or mock").optional(),
  data: z.string().min(1, "--data takes a folder").optional(),
});

async function main(): Promise<void> {
  const string = { type: "string" } as const;
  const { values } = parseArgs({ options: { port: string, token: string, backend: string, data: string } });
  const { data: dataDir, ...flags } = Flags.parse(values);
  const onExit = (line: string) => {
    console.error(line);
    process.exit(1);
  };
  const { url, token, backend, stop } = await startUpstash({ ...flags, dataDir, onExit });
  const isKept = dataDir && backend !== "ioredis-mock";
  const lines = [
    `Upstash's Redis REST API, emulated on ${backend}, listens on ${url}`,
    isKept ? `Its data stays in ${dataDir}.` : "Its data ends with it.",
    "",
    `  UPSTASH_REDIS_REST_URL=${url}`,
    `  UPSTASH_REDIS_REST_TOKEN=${token}`,
    "",
    `Try it: curl -H "Authorization: Bearer ${token}" ${url}/set/greeting/hello`,
  ];
  serve({ url, token, backend }, lines, stop);
}

function explain(error: unknown): string {
  if (error instanceof z.ZodError) return `${error.issues.map(({ message }) => message).join("\n")}\n${USAGE}`;
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error ? String(error.code) : "";
  if (code === "EADDRINUSE") return "That port is in use; choose another one with --port.";
  return code.startsWith("ERR_PARSE_ARGS") ? `${error.message}\n${USAGE}` : error.message;
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(explain(error));
    process.exitCode = 1;
  }
}
