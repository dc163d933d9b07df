import { createInterface } from "node:readline/promises";
import { MongoClient } from "mongodb";
import { config } from "../lib/platform/config.ts";
import { ApiError } from "../lib/platform/errors.ts";
import { stage } from "../lib/platform/stage.ts";

let isOwn = false;

/** Says that the tool works on the `npm start` that runs here, on data that `npm start` made. */
export function setOwnTarget(): void {
  isOwn = true;
}

/** Where a tool would write. */
interface Target {
  mongodb: string;
  /** Absent: it writes nothing there. */
  redis?: string;
}

/**
 * Names what a tool is about to write to, never a password, and asks whether it should. Asks nothing where the target is
 * the `npm start` that runs here, or where `--yes` was given.
 *
 * @throws When the answer is no, and where there is no terminal to ask in.
 */
export async function confirmWrite(yes: boolean | undefined, target?: Target): Promise<void> {
  const { mongodb, redis } = target ?? targetOf(config());
  const places = [`MongoDB ${databaseOf(mongodb)}`, ...(redis ? [`Redis ${new URL(redis).host}`] : [])];
  console.error(`Writes to stage ${stage()}: ${places.join(", ")}`);
  if (yes || isOwn) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) throw new Error("There is no terminal to ask in: add --yes");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question("Go on? (yes) ");
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new Error("Nothing was written");
}

const targetOf = (settings: ReturnType<typeof config>): Target => ({
  mongodb: settings.MONGODB_URL,
  redis: settings.UPSTASH_REDIS_REST_URL,
});

/** `host/database`. The driver parses the address, so that no part of a password is taken for a host. */
function databaseOf(url: string): string {
  try {
    const { srvHost, hosts, dbName } = new MongoClient(url).options;
    return `${srvHost ?? hosts.join(",")}/${dbName}`;
  } catch (cause) {
    throw new ApiError("CONNECTION_FAILED", { cause });
  }
}
