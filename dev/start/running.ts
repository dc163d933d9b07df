import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DEFAULT_FOLDER, holderOf, secretsOf } from "./folder.ts";
import type { DevJson } from "./greeting.ts";

/** The dev.json of the `npm start` that runs on this data folder; undefined if none runs, or it is not ready yet. */
export async function running(folder = DEFAULT_FOLDER): Promise<DevJson | undefined> {
  if ((await holderOf(folder)) === undefined) return undefined; // a process that was killed leaves its file behind
  const text = await readFile(join(folder, "dev.json"), "utf8").catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text);
}

/** Whether this `npm start` has the demo tenant: it uses data of its own, or was started with --seed. */
export const isOfDemo = ({ subaccountId }: DevJson) => subaccountId !== "";

/** The settings of its functions. */
export async function environmentOf(
  { services: { mongodb, upstash, retell } }: Pick<DevJson, "services">,
  folder = DEFAULT_FOLDER,
): Promise<Record<string, string>> {
  return {
    STAGE: process.env.STAGE || "local",
    MONGODB_URL: mongodb,
    UPSTASH_REDIS_REST_URL: upstash.url,
    UPSTASH_REDIS_REST_TOKEN: upstash.token,
    RETELL_BASE_URL: retell.url,
    FILES_FOLDER: resolve(folder, "files"),
    ...(await secretsOf(folder)),
  };
}
