import type { Db } from "mongodb";
import { load as fill } from "../dev/seed/load.ts";
import { encodeCursor } from "../lib/chat/cursor.ts";
import { newMessageId } from "../lib/chat/new-message.ts";
import { type Api, load, type Request, succeed } from "./api.ts";
import { type Job, job, tell } from "./child.ts";
import { interleaved, type Spread, spread } from "./numbers.ts";
import { aPlace, type OwnPlace } from "./place.ts";

/** Pages of 99 chats in a subaccount with this number of chats: times in ms, and documents that MongoDB read. */
export interface Page {
  chats: number;
  first: Spread;
  last: Spread;
  examined: number;
}

/** One send to a chat with this number of messages: time in ms, and bytes in the replica set's journal. */
export interface Send {
  messages: number;
  ms: Spread;
  journalBytes: number;
}

export interface Growth {
  pages: Record<"naive" | "ours", Page[]>;
  sends: Record<"naive" | "ours", Send[]>;
  /** The largest page of a transcript of 5,000 messages, as Lambda counts it, and how many pages there are. */
  largest: { lambdaBytes: number; pages: number };
}

async function measure({ quick }: Job): Promise<Growth> {
  const apis = { naive: await load(new URL("naive/", import.meta.url)), ours: await load() };
  const times = quick ? 7 : 25;
  const growth: Growth = {
    pages: { naive: [], ours: [] },
    sends: { naive: [], ours: [] },
    largest: { lambdaBytes: 0, pages: 0 },
  };
  for (const chats of quick ? [100, 10_000] : [100, 1_000, 10_000, 100_000]) {
    const place = await aPlace();
    await fill(process.env.MONGODB_URL ?? "", { ...place, chats, messages: 4, seed: 1 });
    for (const which of ["naive", "ours"] as const) {
      growth.pages[which].push(await pages(apis[which], which, place, chats, times));
    }
  }
  for (const messages of quick ? [10, 5_000] : [10, 100, 1_000, 5_000]) {
    for (const which of ["naive", "ours"] as const) {
      growth.sends[which].push(await sends(apis[which], await aPlace(), messages, times));
    }
  }
  growth.largest = await largest(apis.ours, await aPlace());
  return growth;
}

async function pages(api: Api, which: "naive" | "ours", place: OwnPlace, chats: number, times: number): Promise<Page> {
  const newest = { start_timestamp: 1, chat_id: 1 } as const;
  const [before] = await place.db.collection("chats").find().sort(newest).skip(100).limit(1).toArray();
  const depth = chats / 100 - 1;
  // The first and the last page. Pages with limit=99 are never cached.
  const first: Request = { query: { limit: "99" } };
  const cursor = before ? encodeCursor(before as never) : undefined;
  const last: Request = {
    query: { limit: "99", ...(which === "naive" ? { page: String(depth) } : cursor ? { cursor } : {}) },
  };
  await succeed(api, "list", place, first);
  await place.db.command({ profile: 2 });
  await succeed(api, "list", place, last);
  await place.db.command({ profile: 0 });
  const [find] = await place.db.collection("system.profile").find({ "command.find": "chats" }).toArray();
  await place.db.collection("system.profile").drop();
  const { first: atFirst = [], last: atLast = [] } = await interleaved(times, {
    first: () => took(() => succeed(api, "list", place, first)),
    last: () => took(() => succeed(api, "list", place, last)),
  });
  return { chats, first: spread(atFirst), last: spread(atLast), examined: find?.docsExamined ?? Number.NaN };
}

/** Sends to a chat that has this number of messages. */
export async function sends(api: Api, place: OwnPlace, messages: number, times: number): Promise<Send> {
  const { body } = await succeed(api, "create", place, { body: { agentId: place.agentId } });
  const chatId: string = body.data.chat_id;
  await lengthen(place.db, chatId, messages, "A sentence of the usual length, which is about eighty characters or so.");
  const request = { chatId, body: { content: "ping" } };
  const send = () => took(() => succeed(api, "message", place, request));
  await send();
  const before = await journal(place);
  const { send: ms = [] } = await interleaved(times, { send });
  return { messages, ms: spread(ms), journalBytes: ((await journal(place)) - before) / times };
}

async function lengthen(db: Db, chatId: string, count: number, content: string): Promise<void> {
  const messages = [...Array(count).keys()].map((i) => ({
    message_id: newMessageId(),
    role: "agent",
    content,
    created_timestamp: 1_795_475_267_333 + i,
    internal: {},
  }));
  await db.collection("chats").updateOne({ chat_id: chatId }, { $set: { messages } });
}

/** Bytes in the replica set's journal about a place's chats and their words. */
async function journal({ db, mongo }: OwnPlace): Promise<number> {
  const [sum] = await mongo
    .db("local")
    .collection("oplog.rs")
    .aggregate([
      { $match: { ns: { $in: ["chats", "chatwords"].map((name) => `${db.databaseName}.${name}`) } } },
      { $group: { _id: null, bytes: { $sum: { $bsonSize: "$$ROOT" } } } },
    ])
    .toArray();
  return sum?.bytes ?? 0;
}

async function largest(api: Api, place: OwnPlace): Promise<Growth["largest"]> {
  const { body } = await succeed(api, "create", place, { body: { agentId: place.agentId } });
  const chatId: string = body.data.chat_id;
  await lengthen(place.db, chatId, 5_000, 'Each "line" of it\nis escaped twice. '.repeat(35));
  await succeed(api, "end", place, { chatId });
  const found = { lambdaBytes: 0, pages: 0 };
  for (let query: Record<string, string> = {}, more = true; more; found.pages++) {
    const answer = await succeed(api, "transcript", place, {
      chatId,
      query,
      headers: { "accept-encoding": "identity" },
    });
    found.lambdaBytes = Math.max(found.lambdaBytes, answer.lambdaBytes);
    more = answer.body.meta.hasMore;
    query = { after_seq: String(answer.body.meta.nextSeq) };
  }
  return found;
}

async function took(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

if (import.meta.main) tell(await measure(job()));
