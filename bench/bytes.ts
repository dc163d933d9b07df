import { load as fill } from "../dev/seed/load.ts";
import { longTalk, shopTalk } from "../test/support/talk.ts";
import { type Api, load, type Name, type Request, succeed } from "./api.ts";
import { type Job, job, tell } from "./child.ts";
import { aPlace, type OwnPlace } from "./place.ts";

/** Bytes of one answer: as it comes from Mongo, as it comes from the cache, and what Redis keeps of it. */
export interface Sizes {
  miss: number;
  hit: number;
  redis: number;
}

export type Bytes = Record<string, { naive: Sizes; ours: Sizes }>;

async function measure(_: Job): Promise<Bytes> {
  const apis = { naive: await load(new URL("naive/", import.meta.url)), ours: await load() };
  const lists = await aPlace();
  await filled(lists, 120, 4);
  const words = await aPlace();
  const [chatId = ""] = (await filled(words, 6, 1_000)).sampleChatIds;
  const shop = await aPlace();
  const talked = await talk(apis.ours, shop, 1_000);

  const both = async (name: Name, place: OwnPlace, request: Request = {}) => ({
    naive: await sizes(apis.naive, name, place, request, "naive:"),
    ours: await sizes(apis.ours, name, place, request, "bench:"),
  });
  return {
    "100 chats": await both("list", lists),
    "1,000 messages of the shop's agent": await both("transcript", shop, { chatId: talked }),
    "1,000 messages of random words": await both("transcript", words, { chatId }),
  };
}

const filled = ({ subaccountId }: OwnPlace, chats: number, messages: number) =>
  fill(process.env.MONGODB_URL ?? "", { subaccountId, chats, messages, seed: 1 });

async function sizes(api: Api, name: Name, place: OwnPlace, request: Request, stage: string): Promise<Sizes> {
  const miss = await succeed(api, name, place, request);
  const hit = await succeed(api, name, place, request);
  if (miss.body.meta.cached || !hit.body.meta.cached) return { miss: miss.wireBytes, hit: Number.NaN, redis: 0 };
  const key = `${stage}chat:${name === "list" ? "list:" : ""}${place.subaccountId}${request.chatId ? `:${request.chatId}` : ""}`;
  return { miss: miss.wireBytes, hit: hit.wireBytes, redis: await lengthOf(key) };
}

async function lengthOf(key: string): Promise<number> {
  const { UPSTASH_REDIS_REST_URL: url = "", UPSTASH_REDIS_REST_TOKEN: token } = process.env;
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(["STRLEN", key]) });
  return ((await answer.json()) as { result: number }).result;
}

/** An ended chat of `count` messages of a real conversation with the agent, each with an id of its own. */
async function talk(api: Api, place: OwnPlace, count: number): Promise<string> {
  const { body } = await succeed(api, "create", place, { body: { agentId: place.agentId } });
  const chatId: string = body.data.chat_id;
  for (const content of shopTalk) {
    await succeed(api, "message", place, { chatId, body: { content } });
  }
  const { messages: said } = (await succeed(api, "transcript", place, { chatId })).body.data;
  const messages = longTalk(said, count);
  await succeed(api, "end", place, { chatId });
  await place.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { messages } });
  return chatId;
}

if (import.meta.main) tell(await measure(job()));
