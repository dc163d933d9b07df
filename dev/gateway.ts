import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { routes } from "../lib/api/routes.ts";
import { defineCommand } from "../ops/command.ts";
import { runCommand } from "../ops/run-command.ts";
import { Cors } from "./gateway/cors.ts";
import { exchange, type Setup } from "./gateway/exchange.ts";
import { takeFile } from "./gateway/files.ts";
import type { LambdaHandler } from "./gateway/invoke.ts";
import { type LocalConsole, pagesOf } from "./gateway/pages.ts";
import { demo, demoTokens } from "./seed/demo.ts";
import { serve } from "./service.ts";
import { startWorker } from "./worker.ts";

const GRACE_MS = 1_000;
const FUNCTION_MS = 29_000;

/** How to start a gateway. */
export interface GatewayOptions {
  /** 0: a free port. Default: `PORT`, or 3000. */
  port?: number;
  host?: string;
  /** Handlers by route name, in place of those in functions/. */
  handlers?: { [Name in keyof typeof routes]?: LambdaHandler };
  /** Default: `CORS_ORIGINS`, separated by commas, or `*`. */
  corsOrigins?: string[];
  /** When Lambda ends a function. */
  functionMs?: number;
  /** When API Gateway stops waiting for it. */
  integrationMs?: number;
  /** Serve the console and the reference page as well. */
  console?: LocalConsole;
}

/** A running gateway. */
export interface Gateway {
  url: string;
  /** Accepts no more requests, waits a second for running ones, and closes. */
  stop(): Promise<void>;
}

/**
 * Serves the table in lib/api/routes.ts as API Gateway's HTTP API does, with the functions, the queue of background jobs
 * and its worker in this process.
 *
 * @throws EADDRINUSE when the port is taken.
 */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const { port = portOf(process.env.PORT), host = "127.0.0.1" } = options;
  const setup: Setup = {
    cors: new Cors(options.corsOrigins?.join(",") ?? process.env.CORS_ORIGINS, process.env.CORS_HEADERS),
    handlers: options.handlers ?? {},
    functionMs: options.functionMs ?? FUNCTION_MS,
    integrationMs: options.integrationMs ?? 30_000,
    isStopping: false,
  };

  // Node's limits end requests that are never sent in full. Its header limit must be above API Gateway's.
  const server = createServer({
    keepAliveTimeout: 60_000,
    headersTimeout: 10_000,
    requestTimeout: 30_000,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: 262_144,
  });
  const sockets = new Set<Socket>();
  const running = new Set<IncomingMessage>();
  const pages = options.console && pagesOf(server, options.console);
  const take = (request: IncomingMessage, response: ServerResponse) => {
    running.add(request);
    response.once("close", () => running.delete(request));
    if (!pages?.take(request, response) && !takeFile(setup.cors, request, response))
      void exchange(setup, request, response);
  };
  server.on("request", take).on("checkContinue", take);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  const url = `http://${host}:${typeof address === "object" ? address?.port : port}`;
  process.env.FILES_URL = url; // read at the first request
  startWorker();

  const stop = async () => {
    setup.isStopping = true;
    const closed = once(server, "close");
    server.close();
    // Node's closeIdleConnections keeps connections that have not sent a request yet.
    const busy = new Set(Array.from(running, ({ socket }) => socket));
    for (const socket of sockets) if (!busy.has(socket)) socket.destroy();
    const force = setTimeout(() => server.closeAllConnections(), GRACE_MS);
    await closed;
    clearTimeout(force);
    await pages?.stop();
  };
  return { url, stop };
}

function portOf(text: string | undefined): number {
  const port = Number(text || 3000);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`PORT is ${text}, which is not a port`);
  return port;
}

/** The gateway as a process: of `npm run local -- gateway`, or a child of `npm start`. */
export const command = defineCommand({
  details: "It needs the settings that .env.example lists: npm start runs it with services and settings of its own.",
  flags: {
    port: { type: "number", description: "the port on 127.0.0.1; 0 is a free one (default: PORT, or 3000)" },
    "function-ms": {
      type: "number",
      description: "end a function after this time, as Lambda would",
      default: FUNCTION_MS,
    },
    "sweep-seconds": { type: "number", description: "run the sweep this often; 0 is never", default: 0 },
    demo: { type: "boolean", description: "give the console the demo tenant and tokens of its users" },
    "retell-control": { type: "url", description: "the simulator's control API, for the console" },
  },
  async run({ port = portOf(process.env.PORT), "function-ms": functionMs, "sweep-seconds": sweepSeconds, ...flags }) {
    const local = { demo: flags.demo ? aboutDemo : undefined, retellControl: flags["retell-control"] };
    const { url, stop } = await startGateway({ port, functionMs, console: local }).catch((error: unknown) => {
      throw new Error(`Gateway: ${whyNot(error)}`);
    });
    if (sweepSeconds > 0) void sweepEvery(sweepSeconds);
    // On Lambda an unhandled rejection ends one instance. Here it would end all functions.
    process.on("unhandledRejection", (error) => console.error("gateway: unhandled rejection:", error));
    serve({ url }, [`Gateway on ${url}; Ctrl-C ends it. Try: curl ${url}/health`], stop);
    return new Promise<never>(() => {});
  },
});

/** Made for each request, so that the console has valid tokens also after a day. */
async function aboutDemo(): Promise<object> {
  return { ...demo, tokens: await demoTokens(process.env.JWT_SECRET ?? "") };
}

/** Runs the sweep repeatedly, one run after the other. A run that fails logs the reason. */
async function sweepEvery(seconds: number): Promise<never> {
  for (;;) {
    await delay(seconds * 1_000);
    const { handler } = await import("../functions/sweep.ts");
    await handler().catch(() => {});
  }
}

function whyNot(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isTaken = "code" in error && error.code === "EADDRINUSE" && "port" in error;
  return isTaken ? `port ${error.port} is in use; choose another with PORT or --port` : error.message;
}

if (import.meta.main) {
  const named = { call: "npm run local -- gateway", says: "starts the gateway with the functions behind it" };
  await runCommand(named, process.argv.slice(2), async () => command);
}
