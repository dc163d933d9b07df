import { setImmediate } from "node:timers/promises";

/**
 * A moment for what would begin with Mongo. A frozen Lambda wakes up with its event and with the news of who has hung up
 * meanwhile, and the driver hears of that only some turns of the event loop later: the end is read, then our side is
 * shut, then the socket closes. What it sends before that waits for ever. Requests that begin with Redis hear it then.
 */
export async function drainSocketEvents(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await setImmediate();
}
