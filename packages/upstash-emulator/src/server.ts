import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, delimiter, join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { type Backend, type Command, RedisError, type Reply, unavailable } from "./commands.ts";

const WATCHDOG = new URL("watchdog.sh", import.meta.url);

/** The first redis-server or valkey-server on PATH, if there is one. */
export function findRedisServer(): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  const candidates = ["redis-server", "valkey-server"].flatMap((name) => folders.map((folder) => join(folder, name)));
  return candidates.find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * A Redis server of our own, on a unix socket that only this user can open; it ends with us, however we end.
 *
 * @param dataDir  Where its data stays from run to run; absent, they end with it.
 * @param onExit   Called if it ends without `stop()`, with a line that says why.
 */
export async function startServer(binary: string, dataDir?: string, onExit?: (line: string) => void): Promise<Backend> {
  const temporary = await mkdtemp(join(tmpdir(), "upstash-"));
  const path = join(temporary, "redis.sock");
  const flags = ["--port", "0", "--unixsocket", path, "--unixsocketperm", "700", "--loglevel", "warning", "--save", ""];
  if (dataDir) await mkdir(dataDir, { recursive: true, mode: 0o700 });
  // Each write is in the file before its answer leaves, so killing Redis loses nothing ("everysec" may postpone it).
  if (dataDir) flags.push("--dir", resolve(dataDir), "--appendonly", "yes", "--appendfsync", "no");
  else flags.push("--dir", temporary);

  const server = runWatched(temporary, binary, flags);
  let isReady = false;
  const redis = new Redis({
    path,
    // It is there in a few milliseconds; gone later, it stays gone, and commands fail at once.
    retryStrategy: () => (isReady ? null : 5),
    maxRetriesPerRequest: null,
    autoResendUnfulfilledCommands: false,
  });
  redis.on("error", () => {}); // every command reports its own
  let stopping = false;
  const stop = async () => {
    stopping = true;
    redis.disconnect();
    await server.stop();
  };
  try {
    // Not events.once(): it would give up at the first attempt to connect that fails.
    await Promise.race([new Promise<void>((resolve) => redis.once("ready", resolve)), server.ended.then(refuse)]);
    isReady = true;
    void server.ended.then((line) => stopping || onExit?.(line));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name: basename(binary),
    run: (commands) => run(redis, commands),
    transaction: (commands) => transaction(redis, commands),
    stop,
  };
}

/** Redis and its watchdog, in a session of their own: Ctrl-C in the terminal is for us to answer. */
function runWatched(folder: string, binary: string, flags: string[]) {
  const watchdog = spawn("/bin/sh", [fileURLToPath(WATCHDOG), folder, binary, ...flags], { detached: true });
  const log = Promise.all([text(watchdog.stdout), text(watchdog.stderr)]);
  const exited = once(watchdog, "exit");
  const stop = async () => {
    watchdog.stdin.destroy();
    await exited;
  };
  const ended = log.then(async (lines) => {
    await stop(); // Redis has ended, since its output has
    return `${basename(binary)} ended: ${lines.join("").trim()}`;
  });
  return { ended, stop };
}

function refuse(line: string): never {
  throw new Error(line);
}

async function run(redis: Redis, commands: Command[]): Promise<Reply[]> {
  if (commands.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const [name, ...args] of commands) pipeline.callBuffer(name, args);
  const answers = (await pipeline.exec()) ?? [];
  return answers.map(([error, value], index) => asReply(error ?? value, commands[index]));
}

async function transaction(redis: Redis, commands: Command[]): Promise<Reply[]> {
  // Upper case keeps ioredis from treating them as its own transactions, which mangle some of the replies.
  const replies = await run(redis, [["MULTI"], ...commands, ["EXEC"]]);
  const results = replies.at(-1);
  if (Array.isArray(results)) return results;
  throw replies.slice(1).find((reply) => reply instanceof RedisError) ?? new Error("EXEC answered no array");
}

function asReply(value: unknown, command?: Command): Reply {
  if (Array.isArray(value)) return value.map((element) => asReply(element));
  if (Buffer.isBuffer(value) || typeof value === "string" || typeof value === "number" || value === null) return value;
  if (!(value instanceof Error) || value.name !== "ReplyError") throw value;
  return command && value.message.startsWith("ERR unknown command")
    ? unavailable(command[0])
    : new RedisError(value.message);
}
