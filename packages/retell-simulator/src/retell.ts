import { once } from "node:events";
import { parseArgs } from "node:util";
import { serve } from "../../../dev/service.ts";
import { MISSING_AGENT, PRESETS } from "./agents.ts";
import { CONTROL } from "./control.ts";
import { keywords } from "./conversation.ts";
import { Faults } from "./faults.ts";
import { RequestLog } from "./log.ts";
import { serverOf } from "./server.ts";
import { load, StateFile } from "./state-file.ts";
import { Webhooks } from "./webhooks.ts";
import { World } from "./world.ts";

export type RetellSimulator = {
  /** The SDK's `baseURL`. */
  url: string;
  /** Where it is steered: `{url}/_control`. */
  control: string;
  stop: () => Promise<void>;
};

/**
 * Starts a server that behaves as Retell's chat API does, well or badly.
 *
 * @param port        Of 127.0.0.1; absent or 0: a free one.
 * @param stateFile   Where chats outlive the process; absent: they do not.
 * @param seed        Makes the ids of chats and messages follow from the order of creation.
 * @throws            EADDRINUSE when the port is taken; an error that names the state file when it holds something else.
 */
export async function startRetell({
  port = 0,
  stateFile,
  seed,
}: {
  port?: number;
  stateFile?: string;
  seed?: number;
} = {}): Promise<RetellSimulator> {
  const world = new World({ seed, saved: stateFile === undefined ? undefined : await load(stateFile) });
  const webhooks = new Webhooks(world);
  const server = serverOf({ world, faults: new Faults(), log: new RequestLog(), webhooks });

  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (cause) {
    world.clock.stop();
    throw cause;
  }

  const file = stateFile === undefined ? undefined : new StateFile(stateFile, () => world.save());
  world.onChange = () => file?.saveSoon();

  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : port}`;
  const stop = async () => {
    webhooks.stop();
    const closed = server.listening ? once(server, "close") : undefined;
    server.close();
    server.closeAllConnections(); // among them those that a fault has left hanging
    await closed;
    world.clock.stop();
    await file?.save();
    world.onChange = () => {};
  };
  return { url, control: url + CONTROL, stop };
}

if (import.meta.main) {
  try {
    const { values } = parseArgs({ options: { port: { type: "string" }, state: { type: "string" } } });
    const port = Number(values.port ?? 0);
    if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`--port ${values.port} is no port`);
    const { url, control, stop } = await startRetell({ port, stateFile: values.state });
    serve({ url, control }, greetingOf(url, control, values.state), stop);
  } catch (error) {
    console.error(`Retell simulator: ${whyNot(error)}`);
    process.exit(1);
  }
}

function greetingOf(url: string, control: string, stateFile = "memory only"): string[] {
  const agents = [...PRESETS, { prefix: MISSING_AGENT, hint: "there is none" }];
  return [
    `Retell simulator on ${url} (state: ${stateFile}); Ctrl-C ends it`,
    `  SDK      RETELL_BASE_URL=${url} RETELL_API_KEY=key_dev (any key_... is a workspace of its own)`,
    `  agents   any agent_id, and: ${agents.map(({ prefix, hint }) => `${prefix} (${hint})`).join(", ")}`,
    `  say      ${keywords().join(" | ")} | anything else`,
    `  a fault  curl ${control}/faults -d '{"step":"completion","kind":"status","status":500,"effect":"before"}'`,
    `  more     curl ${control}`,
  ];
}

function whyNot(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isTaken = "code" in error && error.code === "EADDRINUSE" && "port" in error;
  return isTaken ? `port ${error.port} is in use; choose another with --port` : error.message;
}
