import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { Commands } from "./commands.ts";
import { Control, type Fault, readFault } from "./control.ts";
import { refusalOf } from "./loopback.ts";
import { type Command, type Redis, RedisError } from "./redis.ts";
import { MAX_REQUEST_BYTES, Refusal, readCommands, toAnswer } from "./rest.ts";

interface Answer {
  status: number;
  body: unknown;
}

/** Answers HTTP requests: Upstash's REST API with the token, `/_control` without one. */
export class Handler {
  readonly #commands: Commands;
  readonly #redis: Redis;
  readonly #token: string;
  readonly #control = new Control();
  readonly #id = randomUUID();
  #answered = 0;

  constructor(redis: Redis, token: string) {
    this.#redis = redis;
    this.#commands = new Commands(redis);
    this.#token = token;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const refusal = refusalOf(request);
      if (refusal) throw new Refusal(403, refusal);
      const url = new URL(request.url ?? "/", "http://127.0.0.1");
      if (url.pathname.startsWith("/_control/")) send(response, await this.#answerControl(url.pathname, request));
      else await this.#handleRest(url, request, response);
    } catch (error) {
      if (error instanceof Refusal) send(response, { status: error.status, body: { error: error.message } });
      else send(response, { status: 500, body: { error: `ERR ${error instanceof Error ? error.message : error}` } });
    }
  }

  async #handleRest(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { kind, ms } = this.#control.onRequest();
    switch (kind) {
      case "drop":
        request.socket.destroy();
        return;
      case "garbage":
        response.setHeader("content-type", "text/html").end("<html>This is not the JSON that you expected.</html>");
        return;
      case "error500":
        throw new Refusal(500, "ERR internal error");
    }

    const answer = await this.#answer(url, request);
    if (kind === "slow") await delay(ms, undefined, { ref: false });
    // Upstash lets a client that sends the last token back read from a replica that has its writes. Here every request
    // reads from the one server, so any token that comes back is right, and each answer carries a new one.
    response.setHeader("upstash-sync-token", `${this.#id}:${++this.#answered}`);
    send(response, answer);
  }

  async #answer(url: URL, request: IncomingMessage): Promise<Answer> {
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

    const replies = await (asked.kind === "multi-exec" ? this.#transaction(commands) : this.#commands.run(commands));
    const answers = replies.map((reply) => toAnswer(reply, isBase64));
    if (asked.kind !== "single") return { status: 200, body: answers };
    const [answer] = answers;
    return { status: answer && "error" in answer ? 400 : 200, body: answer };
  }

  async #transaction(commands: Command[]) {
    return this.#commands.transaction(commands).catch((error: unknown) => {
      throw error instanceof RedisError ? new Refusal(400, error.message) : error; // discarded as a whole
    });
  }

  async #answerControl(path: string, request: IncomingMessage): Promise<Answer> {
    const body = (await readBody(request)).toString();
    switch (`${request.method} ${path}`) {
      case "GET /_control/stats":
        return { status: 200, body: this.#control.stats };
      case "POST /_control/stats/reset":
        this.#control.reset();
        break;
      case "POST /_control/flush":
        await this.#redis.run([["FLUSHALL"]]);
        break;
      case "POST /_control/fault":
        this.#control.play(toFault(body));
        break;
      default:
        throw new Refusal(404, "/_control has GET stats, POST stats/reset, POST flush and POST fault");
    }
    return { status: 200, body: { ok: true } };
  }
}

function toFault(body: string): Fault {
  try {
    return readFault(body);
  } catch (error) {
    throw new Refusal(400, error instanceof Error ? error.message : String(error));
  }
}

/** @throws  Refusal with status 413 above Upstash's limit; all of it is read, or the client would see a reset. */
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

function send(response: ServerResponse, { status, body }: Answer): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
