import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { MongoClient } from "mongodb";
import { DEFAULT_FOLDER } from "../dev/start/folder.ts";
import { logInto } from "../dev/start/log-file.ts";
import { environmentOf, isOfDemo, running } from "../dev/start/running.ts";
import { config } from "../lib/platform/config.ts";
import { ApiError } from "../lib/platform/errors.ts";
import { stage } from "../lib/platform/stage.ts";
import type { Target } from "./command.ts";

/**
 * The stage that a command works on: what `.env` or `sst shell` names. Where neither names a database, it is the
 * `npm start` that runs on this machine, whose log then also gets what the command logs.
 *
 * @throws An Error that lists every setting that is missing or malformed.
 */
export async function stageTarget(): Promise<Target> {
  const isOwn = await useNpmStart();
  const { MONGODB_URL, UPSTASH_REDIS_REST_URL } = config();
  const hosts = `MongoDB ${databaseOf(MONGODB_URL)}, Redis ${new URL(UPSTASH_REDIS_REST_URL).host}`;
  return { name: `Stage ${stage()}: ${hosts}`, isOwn };
}

/** The same for the doctor, which reports the settings that are wrong: they are left out. */
export async function stageAsFarAsKnown(): Promise<Target> {
  return stageTarget().catch(() => ({ name: `Stage ${stage()}`, isOwn: false }));
}

/** A MongoDB that a command writes to, and nothing else. */
export const mongoTarget = (url: string, isOwn: boolean): Target => ({
  name: `Stage ${stage()}: MongoDB ${databaseOf(url)}`,
  isOwn,
});

/** Takes over the settings of a running `npm start`, unless a database is named. True: it has its demo tenant. */
async function useNpmStart(): Promise<boolean> {
  if (process.env.MONGODB_URL || process.env.SST_RESOURCE_App !== undefined) return false;
  const about = await running();
  if (!about) return false;
  Object.assign(process.env, await environmentOf(about));
  logInto(join(DEFAULT_FOLDER, "gateway.log"));
  console.error(`MONGODB_URL is not set: this works on the npm start at ${about.url}`);
  return isOfDemo(about);
}

/**
 * Asks whether to write to a target, unless it is the `npm start` on this machine or `--yes` was given.
 *
 * @throws When the answer is no, and where there is no terminal to ask in.
 */
export async function confirmWrite({ isOwn }: Target, yes: boolean): Promise<void> {
  if (yes || isOwn) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) throw new Error("There is no terminal to ask in: add --yes");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question("Write there? (yes) ");
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new Error("Nothing was written");
}

/** `host/database`. The driver parses the URL, so that no part of a password is taken for a host. */
function databaseOf(url: string): string {
  try {
    const { srvHost, hosts, dbName } = new MongoClient(url).options;
    return `${srvHost ?? hosts.join(",")}/${dbName}`;
  } catch (cause) {
    throw new ApiError("CONNECTION_FAILED", { cause });
  }
}
