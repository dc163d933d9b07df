import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { type FindOptions, findRedis } from "./find.ts";
import { Handler } from "./handler.ts";
import { startRedis } from "./redis.ts";

/** How to start the emulator; everything has a default. */
export interface UpstashEmulatorOptions extends FindOptions {
  /** Default: a free one. */
  port?: number | undefined;
  /** What clients must send as their bearer token. Default: a random one. */
  token?: string | undefined;
  /** Where Redis keeps its data from run to run. Default: the data ends with the emulator. */
  dataDir?: string | undefined;
  /** Path of a redis-server or valkey-server. Default: one is looked for, and downloaded where there is none. */
  redisBinary?: string | undefined;
  /** Called if Redis ends by itself, with a line that says why. */
  onExit?: ((line: string) => void) | undefined;
}

/** A running emulator, on 127.0.0.1. `new Redis(emulator)` of @upstash/redis connects to it. */
export interface UpstashEmulator {
  url: string;
  token: string;
  /** Which Redis it runs, for people: name, version and where it comes from. */
  source: string;
  stop(): Promise<void>;
}

/**
 * Starts a server that speaks Upstash's REST API in front of a Redis server of its own.
 *
 * @throws  An error with code EADDRINUSE when the port is taken; others when there is no Redis or it does not start.
 */
export async function startUpstashEmulator(options: UpstashEmulatorOptions = {}): Promise<UpstashEmulator> {
  const { port = 0, token = randomBytes(24).toString("hex"), redisBinary, dataDir, onExit } = options;
  const { path, source } = redisBinary ? { path: redisBinary, source: redisBinary } : await findRedis(options);
  const redis = await startRedis(path, dataDir, onExit);
  const handler = new Handler(redis, token);
  const server = createServer((request, response) => void handler.handle(request, response));
  const stop = async () => {
    server.close();
    server.closeAllConnections();
    await redis.stop();
  };

  try {
    await once(server.listen(port, "127.0.0.1"), "listening");
  } catch (error) {
    await redis.stop();
    throw error;
  }
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("an HTTP server has a port");
  return { url: `http://127.0.0.1:${address.port}`, token, source, stop };
}
