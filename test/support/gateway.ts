import { once } from "node:events";
import { type Agent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { connect, type Socket } from "node:net";
import type { APIGatewayProxyEventV2, Context } from "aws-lambda";
import { afterAll, afterEach, vi } from "vitest";
import { type Gateway, type GatewayOptions, startGateway } from "../../dev/gateway.ts";

const started: Gateway[] = [];
afterAll(() => Promise.all(started.map((gateway) => gateway.stop())));
afterEach(() => {
  vi.restoreAllMocks();
});

/** A gateway of a test's own; its routes are those of the API. */
export async function aGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({ port: 0, corsOrigins: ["*"], ...options });
  started.push(gateway);
  return gateway;
}

/** A gateway whose GET /health, and whatever no other route matches, runs this instead. */
export function behind(
  health: (event: APIGatewayProxyEventV2, context: Context) => unknown,
  options: GatewayOptions = {},
) {
  return aGateway({ handlers: { health, default: health }, ...options });
}

/** A request. */
export interface Asked {
  method?: string;
  headers?: Record<string, string>;
  /** In pieces, it is sent without a length. */
  body?: string | Buffer | string[];
  agent?: Agent;
}

/** What came back. */
export interface Answered {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  json(): unknown;
}

/** Asks, on a connection of its own unless an agent keeps some. */
export async function ask(
  { url }: Gateway,
  path = "/health",
  { method, headers, body, agent }: Asked = {},
): Promise<Answered> {
  const request = httpRequest(url + path, { method: method ?? "GET", headers: headers ?? {}, agent: agent ?? false });
  for (const piece of Array.isArray(body) ? body : []) request.write(piece);
  request.end(Array.isArray(body) ? undefined : body);
  const [response] = await once(request, "response");
  const bytes = Buffer.concat(await response.toArray());
  const json = () => JSON.parse(bytes.toString());
  return { status: response.statusCode, headers: response.headers, body: bytes, json };
}

/** What only bytes on the wire can say. */
export async function open({ url }: Gateway, sends = ""): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  socket.write(sends);
  return socket;
}

/** Keeps the terminal clean, and what was said for the test. */
export function muted() {
  return vi.spyOn(console, "error").mockImplementation(() => {});
}
