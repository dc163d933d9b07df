import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { Redis as Client } from "ioredis";

/** One argument; a Buffer where the bytes need not be text. */
export type Arg = string | Buffer;

/** A command. The name is in upper case. */
export type Command = [name: string, ...args: Arg[]];

/** The answer to one command; an error, nested ones too, is a value and is not thrown. */
export type Reply = string | Buffer | number | null | RedisError | Reply[];

/** An error that Redis answers, such as `WRONGTYPE Operation against ...`. */
export class RedisError extends Error {
  override readonly name = "RedisError";
}

/** A running Redis server that nobody else uses. */
export interface Redis {
  /** Runs the commands in order and answers each; others may run in between. */
  run(commands: Command[]): Promise<Reply[]>;
  /**
   * Runs all of the commands with nothing in between, or none.
   *
   * @throws  RedisError with the message of the first command that Redis would not queue.
   */
  transaction(commands: Command[]): Promise<Reply[]>;
  /** Kills it and waits until it is gone. What was acknowledged is in `dataDir`. */
  stop(): Promise<void>;
}

/**
 * Starts a Redis server on a unix socket that only this user can open. It ends with this process, also on SIGKILL.
 *
 * @param dataDir  Where its data stays from run to run. Absent: the data ends with it.
 * @param onExit   Called if it ends without `stop()`, with a line that says why.
 */
export async function startRedis(binary: string, dataDir?: string, onExit?: (line: string) => void): Promise<Redis> {
  const temporary = await mkdtemp(join(tmpdir(), "upstash-emulator-"));
  const path = join(temporary, "redis.sock");
  const flags = ["--port", "0", "--unixsocket", path, "--unixsocketperm", "700", "--loglevel", "warning", "--save", ""];
  if (dataDir) await mkdir(dataDir, { recursive: true, mode: 0o700 });
  // A write is in the file before its answer leaves, so a kill loses nothing ("everysec" may postpone the write).
  if (dataDir) flags.push("--dir", resolve(dataDir), "--appendonly", "yes", "--appendfsync", "no");
  else flags.push("--dir", temporary);

  const server = runWatched(temporary, binary, flags);
  let isReady = false;
  const client = new Client({
    path,
    // Redis is ready in a few milliseconds. If it ends later, it stays away and commands fail at once.
    retryStrategy: () => (isReady ? null : 5),
    maxRetriesPerRequest: null,
    autoResendUnfulfilledCommands: false,
  });
  client.on("error", () => {}); // each command reports its own failure
  let isStopping = false;
  const stop = async () => {
    isStopping = true;
    client.disconnect();
    await server.stop();
  };
  try {
    // Not events.once(): it would reject at the first attempt to connect that fails.
    await Promise.race([new Promise<void>((ready) => client.once("ready", ready)), server.ended.then(refuse)]);
    isReady = true;
    void server.ended.then((line) => isStopping || onExit?.(line));
  } catch (error) {
    await stop();
    throw error;
  }
  return { run: (commands) => run(client, commands), transaction: (commands) => transaction(client, commands), stop };
}

/**
 * A shell that runs $2 and the following as a command, kills it when stdin closes, and removes the folder $1. Stdin
 * closes when this process ends, also by SIGKILL. A shell rather than Node, so that killing every node spares it.
 */
const WATCHDOG = `
  folder=$1
  shift
  "$@" </dev/null &
  exec >/dev/null 2>&1 # so that this output ends when the command's does
  while read -r _; do :; done
  kill -9 $!
  wait $!
  rm -rf "$folder"`;

/** Runs Redis under its watchdog, in a session of their own: Ctrl-C in the terminal reaches only this process. */
function runWatched(folder: string, binary: string, flags: string[]) {
  const watchdog = spawn("/bin/sh", ["-c", WATCHDOG, "sh", folder, binary, ...flags], { detached: true });
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

async function run(client: Client, commands: Command[]): Promise<Reply[]> {
  if (commands.length === 0) return [];
  const pipeline = client.pipeline();
  for (const [name, ...args] of commands) pipeline.callBuffer(name, args);
  const answers = (await pipeline.exec()) ?? [];
  return answers.map(([error, value]) => toReply(error ?? value));
}

async function transaction(client: Client, commands: Command[]): Promise<Reply[]> {
  // In upper case ioredis does not take them for its own transactions, which mangle some of the replies.
  const replies = await run(client, [["MULTI"], ...commands, ["EXEC"]]);
  const results = replies.at(-1);
  if (Array.isArray(results)) return results;
  throw replies.slice(1).find((reply) => reply instanceof RedisError) ?? new Error("EXEC answered no array");
}

function toReply(value: unknown): Reply {
  if (Array.isArray(value)) return value.map(toReply);
  if (Buffer.isBuffer(value) || typeof value === "string" || typeof value === "number" || value === null) return value;
  if (value instanceof Error && value.name === "ReplyError") return new RedisError(value.message);
  throw value;
}
