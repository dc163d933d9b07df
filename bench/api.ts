import { gunzipSync } from "node:zlib";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from "aws-lambda";
import { toEvent } from "../dev/event.ts";
import type { Route } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";

/** The endpoints that are compared. */
export const names = ["list", "transcript", "message", "create", "end"] as const;
export type Name = (typeof names)[number];

type RouteName = keyof typeof routes;

type Handler = (event: APIGatewayProxyEventV2, context: Context) => Promise<APIGatewayProxyStructuredResultV2>;

/** Handlers by name, all in this process. */
export type Api<Names extends RouteName = Name> = Record<Names, Handler>;

/** A subaccount, and the token of a user who may do everything in it. */
export interface Place {
  subaccountId: string;
  agentId: string;
  token: string;
}

/** The variable parts of a request. */
export interface Request {
  chatId?: string;
  exportId?: string;
  query?: Record<string, string>;
  body?: object;
  headers?: Record<string, string>;
}

export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the body of an answer may be anything
  body: any;
  /** Length of the body as the client gets it. */
  wireBytes: number;
  /** Length of the whole answer as Lambda counts it: the body is a string inside JSON. */
  lambdaBytes: number;
}

/** The handlers of functions/, or those of another folder that has the same files. */
export function load(folder?: URL): Promise<Api> {
  return loadSome(names, folder);
}

/** Some handlers of a folder, by the names of their routes. */
export async function loadSome<Names extends RouteName>(
  some: readonly Names[],
  folder = new URL("../functions/", import.meta.url),
): Promise<Api<Names>> {
  const handlers = some.map(async (name) => [name, (await import(new URL(`${name}.ts`, folder).href)).handler]);
  return Object.fromEntries(await Promise.all(handlers));
}

/** Calls a handler as API Gateway would, and reads the answer as a client would. */
export async function ask<Names extends RouteName>(
  api: Api<Names>,
  name: Names,
  place: Place,
  request: Request = {},
): Promise<Answer> {
  const context = { awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => 29_000 } as Context;
  return read(await api[name](eventFor(name, place, request), context));
}

/** Calls a handler like `ask`, and throws unless it succeeds. */
export async function succeed<Names extends RouteName>(
  api: Api<Names>,
  name: Names,
  place: Place,
  request: Request = {},
): Promise<Answer> {
  const answer = await ask(api, name, place, request);
  if (answer.status >= 300) throw new Error(`${name}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer;
}

/** Path and query of a request. */
export function targetOf(
  name: RouteName,
  { subaccountId }: Place,
  { chatId = "", exportId = "", query }: Request,
): string {
  const { path }: Route = routes[name];
  return `${path.replace("{subaccountId}", subaccountId).replace("{chatId}", chatId).replace("{exportId}", exportId)}${query ? `?${new URLSearchParams(query)}` : ""}`;
}

/** The headers that a client sends. */
export function headersOf({ token }: Place, { body, headers }: Request): Record<string, string> {
  return {
    authorization: `Bearer ${token}`,
    "accept-encoding": "gzip",
    ...(body ? { "content-type": "application/json" } : {}),
    ...headers,
  };
}

export function eventFor(name: RouteName, place: Place, request: Request = {}): APIGatewayProxyEventV2 {
  return toEvent({
    method: routes[name].method,
    target: targetOf(name, place, request),
    headers: headersOf(place, request),
    ...(request.body ? { body: JSON.stringify(request.body) } : {}),
  });
}

function read(answer: APIGatewayProxyStructuredResultV2): Answer {
  const { statusCode: status = 0, headers, body, isBase64Encoded } = answer;
  const bytes = Buffer.from(body ?? "", isBase64Encoded ? "base64" : "utf8");
  const text = headers?.["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes;
  const lambdaBytes = Buffer.byteLength(JSON.stringify(answer));
  return { status, body: JSON.parse(text.toString() || "{}"), wireBytes: bytes.length, lambdaBytes };
}
