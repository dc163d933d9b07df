import { isUtf8 } from "node:buffer";
import type { APIGatewayProxyEventV2 } from "aws-lambda";
import { routeKey } from "../lib/api/route.ts";
import { decode, findRoute, type Match } from "./gateway/router.ts";

/** An HTTP request as it was sent. */
export interface HttpRequest {
  method: string;
  /** Path and query. */
  target: string;
  /** In any case; as pairs, a name may come twice. */
  headers?: Record<string, string> | Iterable<readonly [name: string, value: string]>;
  body?: string | Uint8Array;
  sourceIp?: string;
}

/** They end at the gateway. */
const hopByHop = new Set(
  "connection expect keep-alive proxy-connection te trailer transfer-encoding upgrade".split(" "),
);

/**
 * Bodies of these types come as text, all others in base64, form data too. AWS documents no list: this one is what
 * others have measured. Any other charset than UTF-8 makes a text binary.
 *
 * @see github.com/floci-io/floci/issues/2172 and github.com/ministackorg/ministack/pull/766
 */
const textTypes = /^(text\/[^;]+|application\/(json|xml|javascript|graphql))\s*(;|$)/i;
const otherCharset = /;\s*charset\s*=\s*(?!"?utf-8\b)/i;

/**
 * The event that API Gateway makes of a request for an HTTP API: payload format 2.0, stage `$default`.
 *
 * `rawPath` is decoded, whatever its name says, and `rawQueryString` is not.
 *
 * @param match Where it goes, when that is known; else the table in routes.ts decides.
 * @see docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 * @see github.com/aws/aws-lambda-dotnet, Tools/LambdaTestTool-v2, tested there against the real one
 */
export function toEvent(request: HttpRequest, match?: Match): APIGatewayProxyEventV2 {
  const { method, target, sourceIp = "127.0.0.1" } = request;
  const [path, query] = split(target);
  const { route, pathParameters } = match ?? findRoute(method, path);
  const key = routeKey(route);
  const rawPath = decode(path);
  const now = new Date();

  const body = bytesOf(request.body);
  const { headers, cookies } = headersOf(request, body.length, sourceIp, now);
  const type = headers.get("content-type") ?? "";
  const isText = textTypes.test(type) && !otherCharset.test(type) && isUtf8(body);
  const domainName = hostOf(headers).replace(/:\d+$/, "");

  return {
    version: "2.0",
    routeKey: key,
    rawPath,
    rawQueryString: query,
    ...(cookies.length > 0 ? { cookies } : {}),
    headers: Object.fromEntries(headers),
    ...(query === "" ? {} : { queryStringParameters: parse(query) }),
    requestContext: {
      accountId: "123456789012",
      apiId: "local",
      domainName,
      domainPrefix: domainName.split(".", 1)[0] ?? "",
      http: { method, path: rawPath, protocol: "HTTP/1.1", sourceIp, userAgent: headers.get("user-agent") ?? "" },
      requestId: requestId(),
      routeKey: key,
      stage: "$default",
      time: commonLogTime(now),
      timeEpoch: now.getTime(),
    },
    ...(pathParameters ? { pathParameters } : {}),
    ...(body.length > 0 ? { body: body.toString(isText ? "utf8" : "base64") } : {}),
    isBase64Encoded: body.length > 0 && !isText,
  };
}

/** A request target's path and query; of no query, the empty text. */
export function split(target: string): [path: string, query: string] {
  const at = target.indexOf("?");
  return at < 0 ? [target, ""] : [target.slice(0, at), target.slice(at + 1)];
}

/** Looks as API Gateway's do: JKJaXmPLvHcESHA= */
export function requestId(): string {
  return Buffer.from(randomHex().slice(0, 22), "hex").toString("base64");
}

function bytesOf(body: string | Uint8Array = ""): Buffer {
  return typeof body === "string" ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

function headersOf({ headers: given = [] }: HttpRequest, bodyBytes: number, sourceIp: string, now: Date) {
  const headers = new Map<string, string>();
  const cookies: string[] = [];
  for (const [name, value] of Symbol.iterator in given ? given : Object.entries(given)) {
    const lower = name.toLowerCase();
    if (lower === "cookie") cookies.push(...value.split(/; */).filter((cookie) => cookie !== ""));
    else if (!hopByHop.has(lower)) join(headers, lower, value);
  }

  const client = headers.get("x-forwarded-for");
  const seconds = Math.floor(now.getTime() / 1000).toString(16);
  headers.set("content-length", String(bodyBytes)); // in whatever pieces the body came
  headers.set("x-forwarded-for", client ? `${client}, ${sourceIp}` : sourceIp);
  headers.set("x-forwarded-port", /:(\d+)$/.exec(hostOf(headers))?.[1] ?? "80");
  headers.set("x-forwarded-proto", "http");
  if (!headers.has("x-amzn-trace-id")) {
    headers.set("x-amzn-trace-id", `Root=1-${seconds}-${randomHex().slice(0, 24)}`);
  }
  return { headers, cookies };
}

function hostOf(headers: Map<string, string>): string {
  return headers.get("host") ?? "localhost";
}

function parse(query: string): Record<string, string> {
  const parameters = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) join(parameters, name, value);
  return Object.fromEntries(parameters);
}

function join(values: Map<string, string>, name: string, value: string): void {
  const before = values.get(name);
  values.set(name, before === undefined ? value : `${before},${value}`);
}

function randomHex(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

/** 12/Mar/2020:19:03:58 +0000 */
function commonLogTime(date: Date): string {
  const [, day, month, year, time] = date.toUTCString().split(" ");
  return `${day}/${month}/${year}:${time} +0000`;
}
