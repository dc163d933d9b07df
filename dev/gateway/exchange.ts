import type { IncomingMessage, ServerResponse } from "node:http";
import { requestId, split, toEvent } from "../event.ts";
import { refusalOf } from "../loopback.ts";
import { type HttpAnswer, ownAnswer, toAnswer } from "./answer.ts";
import { Aborted, announcesMore, drain, readBody } from "./body.ts";
import type { Cors } from "./cors.ts";
import { type Invoker, invoke } from "./invoke.ts";
import { findRoute } from "./router.ts";

/** The state that all requests of one gateway share. */
export interface Setup extends Invoker {
  cors: Cors;
  isStopping: boolean;
}

/** @see docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html */
const BODY_BYTES = 10 * 1024 * 1024;
const HEADER_BYTES = 10_240;
const DRAIN_MS = 1_000;

/** Serves one request; never rejects. When the client disconnects, the function continues. */
export async function exchange(setup: Setup, request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.on("error", () => {}); // the client may disconnect during the answer
  request.on("error", () => {}); // or during the request
  try {
    await send(setup, request, response, await answerTo(setup, request, response));
  } catch (error) {
    if (error instanceof Aborted) return;
    console.error("gateway:", error); // a result that cannot be written as JSON, or an invalid header
    if (!response.headersSent) await send(setup, request, response, ownAnswer(500, "Internal Server Error"));
    else response.destroy();
  }
}

async function answerTo(setup: Setup, request: IncomingMessage, response: ServerResponse): Promise<HttpAnswer> {
  const { method = "", url: target = "", headers, rawHeaders } = request;
  const isPreflight =
    method === "OPTIONS" && headers.origin !== undefined && headers["access-control-request-method"] !== undefined;
  // A preflight is answered for any origin: its headers say what is allowed.
  const refusal = refusalOf(request, (origin) => isPreflight || setup.cors.allows(origin));
  if (refusal) return ownAnswer(403, refusal);
  if (headerBytes(request) > HEADER_BYTES) return ownAnswer(431, "Request Header Fields Too Large");
  if (isPreflight && headers.origin !== undefined) {
    return { status: 204, headers: setup.cors.preflight(headers.origin), body: "" };
  }

  if (announcesMore(request, BODY_BYTES)) return ownAnswer(413, "Request Entity Too Large");
  if (headers.expect !== undefined) response.writeContinue();
  const body = await readBody(request, BODY_BYTES);
  if (!body) return ownAnswer(413, "Request Entity Too Large");

  const match = findRoute(method, split(target)[0]);
  const sourceIp = request.socket.remoteAddress?.replace(/^::ffff:/, "");
  const event = toEvent({ method, target, headers: pairs(rawHeaders), body, ...(sourceIp ? { sourceIp } : {}) }, match);
  const answer = toAnswer(await invoke(setup, match.route, event));
  answer.headers["apigw-requestid"] = event.requestContext.requestId;
  return answer;
}

async function send(
  setup: Setup,
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: HttpAnswer,
): Promise<void> {
  const isUnread = !request.complete;
  if (setup.isStopping || isUnread) response.shouldKeepAlive = false;

  const isEmpty = status === 204 || status === 304;
  response.writeHead(status, {
    "apigw-requestid": requestId(),
    ...headers,
    ...(isEmpty ? {} : { "content-length": Buffer.byteLength(body) }),
    ...setup.cors.headers(request.headers.origin),
  });
  const bytes = isEmpty || request.method === "HEAD" ? "" : body;
  if (isUnread) {
    response.flushHeaders();
    response.write(bytes);
    await drain(request, DRAIN_MS);
    response.end();
  } else response.end(bytes);
}

/** Counted as by API Gateway: the request line and the headers' values. */
function headerBytes({ method = "", url = "", httpVersion, rawHeaders }: IncomingMessage): number {
  const requestLine = `${method} ${url} HTTP/${httpVersion}`.length;
  return rawHeaders.reduce((sum, text, index) => (index % 2 === 1 ? sum + text.length : sum), requestLine);
}

/** Replaces `request.headers`, which drops some repeated headers. */
function* pairs(rawHeaders: string[]): Generator<[name: string, value: string]> {
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    yield [rawHeaders[index] ?? "", rawHeaders[index + 1] ?? ""];
  }
}
