import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DEFAULT_FOLDER, holderOf, secretsOf } from "./folder.ts";
import type { DevJson } from "./greeting.ts";

/** What the `npm start` says of itself that runs on this data folder; undefined when none does, or is not ready yet. */
export async function running(folder = DEFAULT_FOLDER): Promise<DevJson | undefined> {
  if ((await holderOf(folder)) === undefined) return undefined; // one that was killed leaves its file behind
  const text = await readFile(join(folder, "dev.json"), "utf8").catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text);
}

/** Whether it has the demo tenant, and so works on data of its own, or on data that it was told to add the tenant to. */
export const isOfDemo = ({ subaccountId }: DevJson) => subaccountId !== "";

/** What its functions are configured by. */
export async function environmentOf(
  { services: { mongodb, upstash, retell } }: DevJson,
  folder = DEFAULT_FOLDER,
): Promise<Record<string, string>> {
  return {
    STAGE: process.env.STAGE || "local",
    MONGODB_URL: mongodb,
    UPSTASH_REDIS_REST_URL: upstash.url,
    UPSTASH_REDIS_REST_TOKEN: upstash.token,
    RETELL_BASE_URL: retell.url,
    ...(await secretsOf(folder)),
  };
}
