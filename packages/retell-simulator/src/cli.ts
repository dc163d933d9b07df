#!/usr/bin/env node
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { MISSING_AGENT, PRESETS } from "./agents.ts";
import { keywords } from "./conversation.ts";
import { type RetellSimulatorOptions, startRetellSimulator } from "./index.ts";

const USAGE = `Usage: retell-simulator [options]

Starts a simulator of Retell AI's chat API on 127.0.0.1. Ctrl-C ends it.

  --port N       listen on this port (default: a free one)
  --state FILE   keep the chats in this file (default: in memory)
  --seed N       make the ids depend on the order of creation alone
  --help         print this text
  --version      print the version`;

const OPTIONS = {
  port: { type: "string" },
  state: { type: "string" },
  seed: { type: "string" },
  help: { type: "boolean" },
  version: { type: "boolean" },
} as const;

try {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) console.log(USAGE);
  else if (values.version) console.log(await version());
  else {
    const port = integer("--port", values.port, 65_535);
    await run({ port, seed: integer("--seed", values.seed), stateFile: values.state });
  }
} catch (error) {
  console.error(`retell-simulator: ${messageOf(error)}`);
  process.exitCode = 1;
}

/** Runs until a signal. A parent that uses `fork()` gets `{ ready: { url, control } }`, and its end is the end, too. */
async function run(options: RetellSimulatorOptions): Promise<void> {
  const { url, control, stop } = await startRetellSimulator(options);
  let isStopping = false;
  const end = async () => {
    if (isStopping) return;
    isStopping = true;
    await stop();
    process.exit(0);
  };
  for (const event of ["SIGINT", "SIGTERM", "disconnect"]) process.once(event, end);
  if (process.send) process.send({ ready: { url, control } });
  else console.log(greeting(url, control, options.stateFile));
}

function greeting(url: string, control: string, stateFile = "in memory"): string {
  const agents = [...PRESETS, { prefix: MISSING_AGENT, hint: "does not exist" }];
  return `Retell simulator on ${url} (state: ${stateFile}); Ctrl-C ends it
  SDK      RETELL_BASE_URL=${url} RETELL_API_KEY=key_dev (any key_... is a workspace of its own)
  agents   any agent_id; these are special: ${agents.map(({ prefix, hint }) => `${prefix} (${hint})`).join(", ")}
  say      ${keywords().join(" | ")}; anything else is echoed
  a fault  curl ${control}/faults -d '{"step":"completion","kind":"status","status":500,"effect":"before"}'
  more     curl ${control}`;
}

function integer(flag: string, text?: string, max = Number.MAX_SAFE_INTEGER): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text) || Number(text) > max) throw new Error(`${flag} must be an integer from 0 to ${max}`);
  return Number(text);
}

async function version(): Promise<string> {
  return JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")).version;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isInUse = "code" in error && error.code === "EADDRINUSE" && "port" in error;
  return isInUse ? `port ${error.port} is in use; choose another with --port` : error.message;
}
