import { Redis } from "@upstash/redis";
import { loadSubaccount } from "../../lib/access/subaccount.ts";
import * as cache from "../../lib/chat/cache.ts";
import { config } from "../../lib/platform/config.ts";
import { defineCommand, writeFlags } from "../command.ts";
import { RedisUnreachable } from "../failure.ts";
import { stageTarget } from "../target.ts";

export const command = defineCommand({
  details: "The next reader gets what MongoDB has.",
  flags: {
    subaccount: { type: "id", description: "the subaccount's id", required: true },
    chat: { type: "text", description: "drop the transcript of this chat alone" },
    ...writeFlags,
  },
  target: stageTarget,
  async run({ subaccount, chat, "dry-run": isDryRun }) {
    // Checked so that a mistyped id is not reported as done. Where Mongo does not answer, the cache is dropped anyway.
    const exists = await loadSubaccount(subaccount).then(Boolean, () => true);
    if (!exists) throw new Error(`There is no subaccount ${subaccount}`);

    const cached = await cachedChats(subaccount);
    const chats = chat === undefined ? cached : cached.filter((id) => id === chat);
    const found = `${chats.length} transcript${chats.length === 1 ? "" : "s"}`;
    const what = chat === undefined ? `the list and ${found}` : found;
    if (isDryRun) return console.log(`${subaccount}: would drop ${what}`);
    // A named chat is dropped even if it is not cached: a reader who is about to cache it may have read an old version.
    const transcripts = (chat === undefined ? cached : [chat]).map((id) => cache.chatKey(subaccount, id));
    await cache.forgetOrThrow([...(chat === undefined ? [cache.listKey(subaccount)] : []), ...transcripts]);
    const isMiss = chat !== undefined && chats.length === 0;
    console.log(`${subaccount}: ${isMiss ? `no transcript of ${chat} was cached` : `dropped ${what}`}`);
  },
});

/** Ids of the chats whose transcript is cached. */
async function cachedChats(subaccountId: string): Promise<string[]> {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = config();
  const redis = new Redis({ url, token, enableTelemetry: false, retry: { retries: 0 } });
  const prefix = cache.chatKey(subaccountId, "").name;
  const found = new Set<string>();
  let cursor = "0";
  do {
    const [next, names] = await redis.scan(cursor, { match: `${prefix}*`, count: 1_000 }).catch((cause) => {
      throw new RedisUnreachable("No answer", { cause });
    });
    cursor = next;
    for (const name of names) found.add(name.slice(prefix.length));
  } while (cursor !== "0");
  return [...found];
}
