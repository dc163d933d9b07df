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

/** A gateway for one test, with the API's routes. */
export async function aGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({ port: 0, corsOrigins: ["*"], ...options });
  started.push(gateway);
  return gateway;
}

/** A gateway that runs this handler for GET /health and for requests that match no route. */
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
  /** Several pieces are sent without a content-length. */
  body?: string | Buffer | string[];
  agent?: Agent;
}

/** An HTTP answer. */
export interface Answered {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  json(): unknown;
}

/** Sends a request, on a new connection unless an agent is given. */
export async function ask(
  { url }: Gateway,
  path = "/health",
  { method, headers, body, agent }: Asked = {},
): Promise<Answered> {
  const request = httpRequest(url + path, { method: method ?? "GET", headers: headers ?? {}, agent: agent ?? false });
  request.on("error", () => {}); // the gateway may answer and close before all of the body is sent; `once` reports others
  for (const piece of Array.isArray(body) ? body : []) request.write(piece);
  request.end(Array.isArray(body) ? undefined : body);
  const [response] = await once(request, "response");
  const bytes = Buffer.concat(await response.toArray());
  const json = () => JSON.parse(bytes.toString());
  return { status: response.statusCode, headers: response.headers, body: bytes, json };
}

/** Sends raw bytes, for requests that no HTTP client can send. */
export async function open({ url }: Gateway, sends = ""): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  socket.write(sends);
  return socket;
}

/** Keeps the output for the test instead of printing it. */
export function muted() {
  return vi.spyOn(console, "error").mockImplementation(() => {});
}
