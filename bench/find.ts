/** Measures what finds chats: filters of the list, search and analytics, with what MongoDB had to read for each. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load as fill } from "../dev/seed/load.ts";
import { toSqsEvent } from "../dev/worker.ts";
import { exportKind } from "../lib/chat/export/exports.ts";
import { loadSome, type Request, succeed } from "./api.ts";
import { type Job, job, tell } from "./child.ts";
import { interleaved, type Spread, spread } from "./numbers.ts";
import { aPlace, type OwnPlace } from "./place.ts";

/** One kind of request. */
export interface Found {
  what: string;
  ms: Spread;
  /** Index keys and documents that MongoDB read. */
  keys: number;
  documents: number;
  /** How many chats, or buckets, were answered. */
  found: number;
  /** The answer stopped at a limit. */
  isPartial: boolean;
}

/** Bytes of an index. */
export interface IndexSize {
  collection: string;
  name: string;
  bytes: number;
}

export interface Finding {
  chats: number;
  messages: number;
  seedSeconds: number;
  /** Bytes of the documents, as they are and as they are on disk, by collection. */
  data: { collection: string; bytes: number; storedBytes: number }[];
  indexes: IndexSize[];
  lists: Found[];
  searches: Found[];
  analytics: Found[];
  exports: Exported[];
}

/** An export of all chats. */
export interface Exported {
  format: string;
  seconds: number;
  bytes: number;
  /** How much the worker's memory grew meanwhile, in bytes. */
  grownBytes: number;
}

// Before anything reads the configuration.
process.env.FILES_FOLDER = await mkdtemp(join(tmpdir(), "scalai-bench-"));
process.env.FILES_URL = "http://127.0.0.1:3000";

const names = ["list", "search", "analytics"] as const;
type Handlers = Awaited<ReturnType<typeof loadSome<(typeof names)[number]>>>;
type Query = Record<string, string>;

const day = 86_400_000;

async function measure({ quick }: Job): Promise<Finding> {
  const [chats, messages] = [quick ? 10_000 : 100_000, 10];
  const api = await loadSome(names);
  const place = await aPlace();
  const { db, subaccountId } = place;
  const others = Array.from({ length: 11 }, (_, i) => ({ agentId: `agent_${i}`, subaccountId, name: `Agent ${i}` }));
  await db.collection("chatagents").insertMany(others);
  const started = performance.now();
  await fill(process.env.MONGODB_URL ?? "", { ...place, chats, messages, seed: 1 });
  const seedSeconds = (performance.now() - started) / 1_000;
  const all = async (name: (typeof names)[number], queries: Record<string, Query>) => {
    const times = quick || name === "analytics" ? 5 : 11;
    const found: Found[] = [];
    for (const [what, query] of Object.entries(queries)) found.push(await one(api, name, place, what, query, times));
    return found;
  };
  const result: Finding = {
    chats,
    messages,
    seedSeconds,
    ...(await sizes(place)),
    lists: await all("list", filters(await someone(place))),
    searches: await all("search", await searches(api, place)),
    analytics: await all("analytics", ranges),
    exports: [await exported(place, "jsonl"), await exported(place, "csv")],
  };
  await db.dropDatabase();
  await place.mongo.close();
  await rm(process.env.FILES_FOLDER ?? "", { recursive: true });
  return result;
}

/** A request several times, and once more for what MongoDB read for it. */
async function one(
  api: Handlers,
  name: (typeof names)[number],
  place: OwnPlace,
  what: string,
  query: Query,
  times: number,
): Promise<Found> {
  const request: Request = { query };
  const { body } = await succeed(api, name, place, request);
  const { run: ms = [] } = await interleaved(times, {
    run: async () => {
      const start = performance.now();
      await succeed(api, name, place, request);
      return performance.now() - start;
    },
  });
  const read = await readBy(place, () => succeed(api, name, place, request));
  const found = Array.isArray(body.data) ? body.data.length : body.data.series.length;
  return { what, ms: spread(ms), ...read, found, isPartial: body.meta.partial === true };
}

/** Index keys and documents that MongoDB reads in the place's database. */
async function readBy({ db }: OwnPlace, run: () => Promise<unknown>): Promise<Pick<Found, "keys" | "documents">> {
  await db.command({ profile: 2 });
  await run();
  await db.command({ profile: 0 });
  const profile = db.collection("system.profile");
  const operations = await profile.find({ ns: { $ne: `${db.databaseName}.system.profile` } }).toArray();
  await profile.drop();
  const sum = (field: string) => operations.reduce((total, operation) => total + (operation[field] ?? 0), 0);
  return { keys: sum("keysExamined"), documents: sum("docsExamined") };
}

/** What some chat in the middle has, to filter by. */
async function someone({ db }: OwnPlace) {
  const [chat] = await db
    .collection("chats")
    .find()
    .sort({ start_timestamp: 1, chat_id: 1 })
    .skip(5_000)
    .limit(1)
    .toArray();
  if (!chat) throw new Error("The seed made fewer chats than expected");
  return chat;
}

/** Filters of the list, a page of 50 each. */
function filters(chat: Awaited<ReturnType<typeof someone>>): Record<string, Query> {
  const now = Date.now();
  const month = { started_after: String(now - 120 * day), started_before: String(now - 90 * day) };
  const asked: Record<string, Query> = {
    "no filter": {},
    "oldest first": { sort: "start_timestamp" },
    "status=ended": { status: "ended" },
    "status=error": { status: "error" },
    agent_id: { agent_id: chat.agent_id },
    "agent_id, three": { agent_id: "agent_1,agent_2,agent_3" },
    created_by: { created_by: chat.createdBy },
    end_user_id: { end_user_id: String(chat.end_user_id) },
    "metadata.channel": { "metadata.channel": "web" },
    "metadata.crm_id": { "metadata.crm_id": chat.metadata.crm_id },
    "a month": month,
    sentiment: { sentiment: "negative" },
    successful: { successful: "false" },
    "status=error, agent_id": { status: "error", agent_id: chat.agent_id },
    "agent_id, a month": { agent_id: chat.agent_id, ...month },
    "metadata.channel, status=error": { "metadata.channel": "web", status: "error" },
    "sentiment, successful": { sentiment: "negative", successful: "true" },
    "agent_id, sentiment": { agent_id: chat.agent_id, sentiment: "negative" },
    "no filter, include=total": { include: "total" },
    "agent_id, include=total": { agent_id: chat.agent_id, include: "total" },
    "sentiment, include=total": { sentiment: "negative", include: "total" },
  };
  return Object.fromEntries(Object.entries(asked).map(([what, query]) => [what, { limit: "50", ...query }]));
}

/** Searches, a page of 20 each. */
async function searches(api: Handlers, place: OwnPlace): Promise<Record<string, Query>> {
  const { messages } = await someone(place);
  const rare = /[ABKR]-(\d{5})/.exec(messages.map(({ content }: { content: string }) => content).join(" "))?.[1] ?? "";
  let cursor = "";
  for (let page = 0; page < 20; page++) {
    const query = { q: "order", limit: "20", ...(cursor ? { cursor } : {}) };
    cursor = (await succeed(api, "search", place, { query })).body.meta.nextCursor ?? "";
  }
  const asked: Record<string, Query> = {
    "a common word": { q: "order" },
    "the same, page 20": { q: "order", cursor },
    "the same, with agent_id": { q: "order", agent_id: "agent_1" },
    "the same, with sentiment": { q: "order", sentiment: "negative" },
    "a rare word": { q: rare },
    "no such word": { q: "zeppelin" },
    "two common words": { q: "order number" },
    "a rare and a common word": { q: `order ${rare}` },
    "two common words that never meet": { q: "warehouse Lager" },
    "a phrase": { q: '"three working days"' },
    "a prefix of few words": { q: "refun*" },
    "a prefix of many words": { q: "100*" },
    Arabic: { q: "المستودع" },
    Chinese: { q: "快递公司" },
    German: { q: "Straße" },
    Hindi: { q: "गोदाम" },
    Japanese: { q: "返品" },
    Thai: { q: "คลังสินค้า" },
  };
  return Object.fromEntries(Object.entries(asked).map(([what, query]) => [what, { limit: "20", ...query }]));
}

const [to, timezone] = [String(Date.now()), "Europe/Berlin"];
const since = (days: number) => ({ from: String(Date.now() - days * day), to, timezone });
const ranges: Record<string, Query> = {
  "30 days, by day": { ...since(30), interval: "day" },
  "a year, by day": { ...since(366), interval: "day" },
  "a year, by week": { ...since(366), interval: "week" },
  "a year, by month": { ...since(366), interval: "month" },
  "a year, by hour of the day": { ...since(366), interval: "hour_of_day" },
  "a year, by month and agent": { ...since(366), interval: "month", group_by: "agent_id" },
  "a year, by day and status": { ...since(366), interval: "day", group_by: "status" },
  "a year, by month and sentiment": { ...since(366), interval: "month", group_by: "sentiment" },
};

/** Exports all chats, as the worker does it that gets the job from the queue. */
async function exported(place: OwnPlace, format: string): Promise<Exported> {
  const api = await loadSome(["exports-create", "exports-get"]);
  const { handler: work } = await import("../functions/worker.ts");
  const { export_id: jobId } = (await succeed(api, "exports-create", place, { body: { format } })).body.data;
  const before = process.memoryUsage.rss();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 50);
  const started = performance.now();
  await work(toSqsEvent({ subaccountId: place.subaccountId, jobId, kind: exportKind }));
  const seconds = (performance.now() - started) / 1_000;
  clearInterval(watch);
  const { status, bytes } = (await succeed(api, "exports-get", place, { exportId: jobId })).body.data;
  if (status !== "completed") throw new Error(`The export is ${status}`);
  return { format, seconds, bytes, grownBytes: most - before };
}

async function sizes({ db }: OwnPlace): Promise<Pick<Finding, "data" | "indexes">> {
  const found: Pick<Finding, "data" | "indexes"> = { data: [], indexes: [] };
  for (const collection of ["chats", "chatwords"]) {
    const [stats] = await db
      .collection(collection)
      .aggregate([{ $collStats: { storageStats: {} } }])
      .toArray();
    const { size = 0, storageSize = 0, indexSizes = {} } = stats?.storageStats ?? {};
    found.data.push({ collection, bytes: size, storedBytes: storageSize });
    for (const [name, bytes] of Object.entries<number>(indexSizes)) found.indexes.push({ collection, name, bytes });
  }
  return found;
}

if (import.meta.main) tell(await measure(job()));
