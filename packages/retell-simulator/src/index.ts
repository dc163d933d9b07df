import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { CONTROL } from "./control.ts";
import { Faults } from "./faults.ts";
import { Journal } from "./journal.ts";
import { createSimulatorServer } from "./server.ts";
import { load, StateFile } from "./state-file.ts";
import { Webhooks } from "./webhooks.ts";
import { World } from "./world.ts";

export type RetellSimulatorOptions = {
  /** On 127.0.0.1. Default: a free port. */
  port?: number | undefined;
  /** A file that keeps the chats for the next start. Default: they are kept in memory only. */
  stateFile?: string | undefined;
  /** Makes the ids of chats and messages depend on the order of creation alone. Default: they are random. */
  seed?: number | undefined;
};

export type RetellSimulator = {
  /** The SDK's `baseURL`. */
  url: string;
  /** The base URL of the control API. */
  control: string;
  /** Closes all connections and saves the state file. */
  stop: () => Promise<void>;
};

/**
 * Starts an HTTP server that behaves like Retell's chat API.
 *
 * @throws   EADDRINUSE if the port is in use; an error that names the state file if it holds something else.
 */
export async function startRetellSimulator(options: RetellSimulatorOptions = {}): Promise<RetellSimulator> {
  const { port = 0, stateFile, seed } = options;
  const world = new World({ seed, saved: stateFile === undefined ? undefined : await load(stateFile) });
  const webhooks = new Webhooks(world);
  const server = createSimulatorServer({ world, faults: new Faults(), requests: new Journal(), webhooks });

  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (cause) {
    world.clock.stop();
    throw cause;
  }

  const file = stateFile === undefined ? undefined : new StateFile(stateFile, () => world.save());
  world.onChange = () => file?.saveSoon();

  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = async () => {
    webhooks.stop();
    const closed = server.listening ? once(server, "close") : undefined;
    server.close();
    server.closeAllConnections(); // also those that a fault left open
    await closed;
    world.clock.stop();
    await file?.save();
    world.onChange = () => {};
  };
  return { url, control: url + CONTROL, stop };
}
