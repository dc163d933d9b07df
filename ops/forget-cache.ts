/** `npm run cache:forget -- --subaccount ID [--chat ID]`: the next reader gets what Mongo has. */
import { parseArgs } from "node:util";
import { Redis } from "@upstash/redis";
import { loadSubaccount } from "../lib/access/membership.ts";
import * as cache from "../lib/chat/cache.ts";
import { config } from "../lib/platform/config.ts";
import { runTool } from "./run-tool.ts";
import { subaccountIdOf } from "./subaccount.ts";
import { confirmWrite } from "./target.ts";

const usage = "npm run cache:forget -- --subaccount ID [--chat ID]";

await runTool(async () => {
  const string = { type: "string" } as const;
  const { values } = parseArgs({ options: { subaccount: string, chat: string, yes: { type: "boolean" } } });
  const subaccountId = subaccountIdOf(values.subaccount, usage);
  await confirmWrite(values.yes);
  // The id is looked for only lest a mistyped one looked done: without Mongo the cache is forgotten all the same.
  const isThere = await loadSubaccount(subaccountId).then(Boolean, () => true);
  if (!isThere) throw new Error(`There is no subaccount ${subaccountId}`);

  const cached = await cachedChats(subaccountId);
  if (values.chat !== undefined) {
    // Also what is not cached yet: a reader who is about to fill it may have read too early.
    await cache.drop([cache.chatKey(subaccountId, values.chat)]);
    const isCached = cached.includes(values.chat);
    console.log(`${subaccountId}: ${isCached ? "forgot 1 transcript" : `no transcript of ${values.chat} was cached`}`);
    return;
  }
  await cache.drop([cache.listKey(subaccountId), ...cached.map((chatId) => cache.chatKey(subaccountId, chatId))]);
  console.log(`${subaccountId}: forgot the list and ${cached.length} transcript${cached.length === 1 ? "" : "s"}`);
});

/** Chats whose transcript is cached now. */
async function cachedChats(subaccountId: string): Promise<string[]> {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = config();
  const redis = new Redis({ url, token, enableTelemetry: false, retry: { retries: 0 } });
  const before = cache.chatKey(subaccountId, "").name;
  const found = new Set<string>();
  let cursor = "0";
  do {
    const [next, names] = await redis.scan(cursor, { match: `${before}*`, count: 1_000 }).catch((cause) => {
      throw Object.assign(new Error("No answer", { cause }), { name: "RedisUnavailable" });
    });
    cursor = next;
    for (const name of names) found.add(name.slice(before.length));
  } while (cursor !== "0");
  return [...found];
}
