import type { OutgoingHttpHeaders } from "node:http";
import { type Outcome, PAYLOAD_BYTES } from "./invoke.ts";

/** An answer to the client. */
export interface HttpAnswer {
  status: number;
  headers: OutgoingHttpHeaders;
  body: Buffer | string;
}

/** Headers of the connection and of CORS. API Gateway sets them itself and drops a function's. */
const dropped = /^(access-control-.*|connection|content-length|keep-alive|trailer|transfer-encoding|upgrade)$/;

/** One of API Gateway's own answers. As on AWS, it is not in the API's envelope. */
export function ownAnswer(status: number, message: string): HttpAnswer {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify({ message }) };
}

/**
 * Turns an invocation's outcome into an answer, as API Gateway does in payload format 2.0.
 *
 * @throws When the result cannot be written as JSON.
 * @see docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 * @see github.com/aws/aws-lambda-dotnet, Tools/LambdaTestTool-v2: results that are not response objects
 */
export function toAnswer(outcome: Outcome): HttpAnswer {
  if (outcome.kind === "gave up") return ownAnswer(503, "Service Unavailable");
  if (outcome.kind === "event too large") return ownAnswer(413, "Request Entity Too Large");
  return (outcome.kind === "returned" && read(outcome.result)) || ownAnswer(500, "Internal Server Error");
}

/** Undefined if the result is not a valid answer. */
function read(result: unknown): HttpAnswer | undefined {
  const text = JSON.stringify(result ?? null); // Lambda sends undefined as null
  if (Buffer.byteLength(text) > PAYLOAD_BYTES) return undefined;
  if (!isObject(result) || result.statusCode === undefined) {
    const body = typeof result === "string" ? result : text;
    return { status: 200, headers: { "content-type": "application/json" }, body };
  }

  const { statusCode: status, isBase64Encoded } = result;
  const body = result.body ?? "";
  const headers = headersOf(result.headers ?? {}, result.cookies ?? []);
  if (typeof status !== "number" || !Number.isInteger(status) || status < 200 || status > 599) return undefined;
  if (typeof body !== "string" || !headers) return undefined;
  return { status, headers, body: isBase64Encoded === true ? Buffer.from(body, "base64") : body };
}

function headersOf(given: unknown, cookies: unknown): OutgoingHttpHeaders | undefined {
  if (!isObject(given) || !Array.isArray(cookies)) return undefined;
  const headers: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(given)) {
    const lower = name.toLowerCase();
    if (value === undefined || value === null || dropped.test(lower)) continue;
    if (typeof value === "object") return undefined; // format 2.0 has no lists of values
    headers[lower] = String(value);
  }
  if (cookies.length > 0) {
    const own = headers["set-cookie"];
    headers["set-cookie"] = [...(typeof own === "string" ? [own] : []), ...cookies.map(String)];
  }
  headers["content-type"] ??= "text/plain; charset=utf-8";
  return headers;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
