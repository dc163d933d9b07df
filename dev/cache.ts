/** `npm run cache:forget -- --subaccount ID [--chat ID]`: the next reader gets what Mongo has. */
import { parseArgs } from "node:util";
import { Redis } from "@upstash/redis";
import * as cache from "../lib/chat/cache.ts";
import { config } from "../lib/config.ts";
import { subaccountIdOf } from "./subaccount.ts";

const usage = "npm run cache:forget -- --subaccount ID [--chat ID]";
const { values } = parseArgs({ options: { subaccount: { type: "string" }, chat: { type: "string" } } });

try {
  const subaccountId = subaccountIdOf(values.subaccount, usage);
  const transcripts = values.chat === undefined ? await cachedChats(subaccountId) : [values.chat];
  await cache.drop([
    ...(values.chat === undefined ? [cache.listEntry(subaccountId)] : []),
    ...transcripts.map((chatId) => cache.chatEntry(subaccountId, chatId)),
  ]);
  const list = values.chat === undefined ? "the list and " : "";
  console.log(`${subaccountId}: forgot ${list}${transcripts.length} transcript${transcripts.length === 1 ? "" : "s"}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/** Chats whose transcript is cached now. */
async function cachedChats(subaccountId: string): Promise<string[]> {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = config();
  const redis = new Redis({ url, token, enableTelemetry: false, retry: { retries: 0 } });
  const before = cache.chatEntry(subaccountId, "").name;
  const found = new Set<string>();
  let cursor = "0";
  do {
    const [next, names] = await redis.scan(cursor, { match: `${before}*`, count: 1_000 });
    cursor = next;
    // A generation token's name has one part more.
    for (const name of names) found.add(name.slice(before.length).split(":")[0] ?? "");
  } while (cursor !== "0");
  return [...found];
}
