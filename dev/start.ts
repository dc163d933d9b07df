import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join, relative, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { styleText } from "node:util";
import { defineCommand } from "../ops/command.ts";
import { runCommand } from "../ops/run-command.ts";
import { mongoTarget } from "../ops/target.ts";
import { startChild } from "./child.ts";
import { demo, demoTokens, noTokens, ownerId, seedDemo } from "./seed/demo.ts";
import { type Services, startServices } from "./services.ts";
import { DEFAULT_FOLDER, given, makePrivate, takeFolder, writePrivate } from "./start/folder.ts";
import { type DevJson, pasteLines, whatRuns } from "./start/greeting.ts";
import { isIdleSweep, isMetric, readable } from "./start/log-line.ts";
import { aboutProcess, isAlive } from "./start/process.ts";
import { environmentOf } from "./start/running.ts";

const GRACE_MS = 300;

/** The options of a run, and what ends it. */
interface Run {
  folder: string;
  port: number;
  /** Write demo data even into a database that MONGODB_URL names. */
  seed: boolean;
  /** How often the scheduled sweep runs. */
  sweepSeconds: number;
  signal: AbortSignal;
  /** Ends the run; with a reason it is a failure. */
  end: (reason?: string) => void;
  /** Stops what was started, in reverse order. */
  cleanup: AsyncDisposableStack;
}

const terminal = process.stdout.isTTY;
/** Prints a line for people. It goes to stderr if stdout is a pipe, which then carries only the gateway's JSON lines. */
const say = (line: string) => void (terminal ? process.stdout : process.stderr).write(`${line}\n`);

async function start({ folder, port, seed, sweepSeconds, signal, end, cleanup }: Run): Promise<void> {
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Error(`PORT is ${process.env.PORT}, which is not a port`);
  cleanup.defer(await takeFolder(folder));
  await refusePortInUse(port);

  const record = logInto(join(folder, "gateway.log"), { end, cleanup });
  const complain = logInto(join(folder, "services.log"), { end, cleanup });
  const services = await startServices({ dataDir: folder, onExit: end, say, log: complain, signal });
  cleanup.defer(() => services.stop());
  // With a JWT_SECRET of the user no tokens are made: they would be valid wherever else that secret is used.
  const isSecretOurs = given("JWT_SECRET") === undefined;
  Object.assign(process.env, await environmentOf({ services: addressesOf(services) }, folder));

  const isOurs = services.mongodb.source !== "MONGODB_URL";
  if (seed && !isOurs) say(mongoTarget(services.mongodb.url, false).name);
  if (isOurs || seed) await seedDemo(services.mongodb.url);

  const onLog = (line: string) => {
    record(line);
    if (signal.aborted || (terminal && (isMetric(line) || isIdleSweep(line)))) return;
    process.stdout.write(`${terminal ? readable(line) : line}\n`);
  };
  // A database or a Retell account of the user has chats that another stage sweeps.
  const isAllOurs = isOurs && services.retell.control !== "";
  const gateway = await startChild<{ url: string }>(new URL("gateway.ts", import.meta.url), {
    args: [
      ...["--port", String(port)],
      ...(isAllOurs ? ["--sweep-seconds", String(sweepSeconds)] : []),
      ...(isSecretOurs && (isOurs || seed) ? ["--demo"] : []),
      ...(services.retell.control ? ["--retell-control", services.retell.control] : []),
    ],
    onExit: end,
    onStdout: onLog,
    onStderr: (line) => {
      if (line.startsWith('{"level":')) return onLog(line); // warnings and errors of the functions come this way
      complain(line);
      if (!signal.aborted) process.stderr.write(`${line}\n`); // also what a developer prints in a handler
    },
    signal,
  });
  cleanup.defer(() => gateway.stop());

  const ownSecret = isSecretOurs ? process.env.JWT_SECRET : undefined;
  const about = await aboutThis(gateway.about.url, services, { seeded: isOurs || seed, ownSecret });
  const file = join(folder, "dev.json");
  await writePrivate(file, about);
  cleanup.defer(() => rm(file, { force: true }));
  greet(about, services, folder);
}

function logInto(file: string, { end, cleanup }: Pick<Run, "end" | "cleanup">): (line: string) => void {
  makePrivate(file);
  const log = createWriteStream(file, { flags: "a" });
  log.on("error", (error) => end(error.message));
  cleanup.defer(() => new Promise<void>((closed) => log.end(() => closed())));
  return (line) => void log.write(`${line}\n`);
}

/** @param ownSecret The generated secret that signs tokens; undefined if JWT_SECRET was set by the user. */
async function aboutThis(
  url: string,
  services: Services,
  { seeded, ownSecret }: { seeded: boolean; ownSecret: string | undefined },
): Promise<DevJson> {
  return {
    url,
    subaccountId: seeded ? demo.subaccountId : "",
    agentId: seeded ? demo.agentIds[0] : "",
    tokens: ownSecret === undefined ? noTokens : await demoTokens(ownSecret),
    services: addressesOf(services),
  };
}

const addressesOf = ({ mongodb, upstash, retell }: Services): DevJson["services"] => ({
  mongodb: mongodb.url,
  upstash: { url: upstash.url, token: upstash.token },
  retell: { url: retell.url, control: retell.control },
});

function greet(about: DevJson, services: Services, folder: string): void {
  const bold = (text: string) => styleText("bold", text, { stream: terminal ? process.stdout : process.stderr });
  const seconds = (performance.now() / 1000).toFixed(1);
  say(bold(`\nScalAI Chat is ready after ${seconds} s; Ctrl-C ends it.`));
  for (const line of whatRuns(services, about.url, short(folder))) say(line);
  if (about.subaccountId) {
    if (!about.tokens.owner) {
      say("\nJWT_SECRET is set, so no tokens were made: they would be valid wherever else it is used.");
      say(`Put a token of your login service into TOKEN; the demo's owner has the id ${ownerId}.`);
    }
    say(bold("\nPaste these one after another: create a chat, send a message, read the transcript."));
    for (const line of pasteLines(about)) say(`\n${line}`);
  } else {
    say("\nMONGODB_URL is set, so no demo data was written; `npm start -- --seed` puts it there.");
  }
  say("");
}

function short(folder: string): string {
  const path = relative(process.cwd(), folder);
  return path === "" || path.startsWith("..") ? folder : path;
}

/** Checks the port before anything is started, so that the error is one clear line. */
async function refusePortInUse(port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((free, taken) => {
    probe.once("error", taken).listen(port, "127.0.0.1", free);
  }).catch((error: NodeJS.ErrnoException) => {
    throw new Error(error.code === "EADDRINUSE" ? `Port ${port} is in use: PORT=<another> npm start` : error.message);
  });
  await new Promise((closed) => probe.close(closed));
}

/** Ends when npm, or the shell between npm and this process, has ended: if npm is killed, it forwards no signal. */
function endWithNpm(end: () => void): void {
  if (process.env.npm_lifecycle_event !== "start") return;
  const parent = process.ppid;
  const { args, parent: grandparent } = aboutProcess(parent) ?? { args: "", parent: 0 };
  const npm = / -c /.test(args) ? grandparent : parent;
  const check = () => (process.ppid !== parent || (npm > 0 && !isAlive(npm))) && end();
  setInterval(check, 500).unref();
}

export const command = defineCommand({
  details: "PORT names the port of the API, 3000 by default.",
  flags: {
    data: { type: "path", description: "the folder that keeps data and logs (default: .local)" },
    seed: { type: "boolean", description: "write the demo tenant even into a database that MONGODB_URL names" },
    "sweep-seconds": { type: "number", description: "run the scheduled sweep this often", default: 60 },
  },
  async run({ data, seed, "sweep-seconds": sweepSeconds }) {
    const folder = resolve(data ?? DEFAULT_FOLDER);
    const reason = await runUntilEnd({ folder, port: Number(process.env.PORT || 3000), seed, sweepSeconds });
    process.exit(reason ? 1 : 0);
  },
});

/** Starts everything, and stops it on a signal, at the end of npm, or on a failure. Returns the failure's reason. */
async function runUntilEnd(options: Pick<Run, "folder" | "port" | "seed" | "sweepSeconds">) {
  const controller = new AbortController();
  const over = Promise.withResolvers<string | undefined>();
  const end = (reason?: string) => {
    over.resolve(reason);
    controller.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => end());
  process.stdout.on("error", () => end()); // the reader of stdout has ended
  endWithNpm(end);

  const cleanup = new AsyncDisposableStack();
  const starting = start({ ...options, signal: controller.signal, end, cleanup }).catch((error) => {
    end(error instanceof Error ? error.message : String(error)); // after Ctrl-C this error is only a consequence
  });
  const reason = await over.promise;
  if (reason) say(reason);
  await Promise.race([starting, delay(GRACE_MS)]); // downloads and children end within this time; a query may hang
  await cleanup.disposeAsync();
  return reason;
}

if (import.meta.main) {
  const named = {
    call: "npm start --",
    says: "starts the API with MongoDB, Redis, the Retell simulator and a demo tenant",
  };
  await runCommand(named, process.argv.slice(2), async () => command);
}
