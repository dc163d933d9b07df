import { type Db, MongoClient } from "mongodb";
import { loadSubaccount } from "../lib/access/subaccount.ts";
import { connectionStringOf } from "../lib/access/tenant.ts";
import { ofTenant } from "../lib/chat/store/collection.ts";
import { central } from "../lib/platform/mongo.ts";
import { defineCommand } from "./command.ts";
import { reachable, whyNot } from "./failure.ts";
import { type Chat, type Spread, type Tally, tally } from "./report/tally.ts";
import { table } from "./table.ts";
import { stageTarget } from "./target.ts";
import { mapAtMost, type Subaccount, subaccountsOf } from "./tenants.ts";

/** Of the whole collection, which subaccounts may share. */
interface Size {
  chats: number;
  bytes: number;
  storageBytes: number;
  indexBytes: number;
}

type Report = { subaccountId: string } & Tally & { collection: Size };

/** A subaccount in the report over all: its totals, or why it could not be read. */
type Line = { subaccountId: string } & (Totals | { failure: string });
interface Totals {
  chats: number;
  ongoing: number;
  messages: number;
  bytes: number;
}

/** Subaccounts that are listed without `--all`, the largest first. */
const listed = 10;
/** Subaccounts that are read at a time. */
const atATime = 4;

export const command = defineCommand({
  details: `Reads every chat, from a secondary if there is one. Of all subaccounts it lists the ${listed} largest and those that cannot be read.`,
  flags: {
    subaccount: { type: "id", description: "report on this subaccount in detail" },
    all: { type: "boolean", description: "list every subaccount" },
    json: { type: "boolean", description: "print everything as JSON" },
  },
  target: stageTarget,
  async run({ subaccount, all, json }) {
    if (subaccount !== undefined) {
      const report = await reportOn(subaccount);
      return console.log(json ? JSON.stringify(report, null, 2) : asText(report));
    }
    await reachable(central());
    const lines = await mapAtMost(atATime, await subaccountsOf(), lineOf);
    lines.sort((a, b) => bytesOf(b) - bytesOf(a));
    console.log(json ? JSON.stringify({ subaccounts: lines }, null, 2) : fleetAsText(lines, all));
    return !lines.some((line) => "failure" in line);
  },
});

async function reportOn(subaccountId: string): Promise<Report> {
  const location = await loadSubaccount(subaccountId);
  if (!location) throw new Error(`There is no subaccount ${subaccountId}`);
  return withDb({ id: subaccountId, location }, async (db) => ({
    subaccountId,
    ...(await tally(chatsOf(db, subaccountId))),
    collection: await sizeOf(db),
  }));
}

async function lineOf(subaccount: Subaccount): Promise<Line> {
  const { id: subaccountId } = subaccount;
  try {
    return await withDb(subaccount, async (db) => {
      const { chats, byStatus, messagesPerChat, bytesPerChat } = await tally(chatsOf(db, subaccountId));
      return {
        subaccountId,
        chats,
        ongoing: byStatus.ongoing ?? 0,
        messages: messagesPerChat.sum,
        bytes: bytesPerChat.sum,
      };
    });
  } catch (error) {
    return { subaccountId, failure: whyNot(error) };
  }
}

/** A client of its own: the API's gives up after two seconds, and reads from the primary. */
async function withDb<T>({ id, location }: Subaccount, work: (db: Db) => Promise<T>): Promise<T> {
  const options = { appName: "scalai-chat report", readPreference: "secondaryPreferred" } as const;
  const client = new MongoClient(await connectionStringOf(id, location), options);
  try {
    return await work(client.db(location.databaseName));
  } finally {
    await client.close();
  }
}

/** All chats of a subaccount, of each only the fields that are counted. */
export function chatsOf(db: Db, subaccountId: string) {
  const projection = {
    _id: 0,
    chat_id: 1,
    agent_id: 1,
    chat_status: 1,
    start_timestamp: 1,
    end_timestamp: 1,
    message_count: 1,
    bytes: { $bsonSize: "$$ROOT" },
  };
  return db.collection("chats").find<Chat>(ofTenant({ subaccountId }), { projection, batchSize: 1_000 });
}

async function sizeOf(db: Db): Promise<Size> {
  const exists = await db.listCollections({ name: "chats" }).hasNext();
  const stages = [{ $collStats: { storageStats: {} } }];
  const [stats] = exists ? await db.collection("chats").aggregate(stages).toArray() : [];
  const { count = 0, size = 0, storageSize = 0, totalIndexSize = 0 } = stats?.storageStats ?? {};
  return { chats: count, bytes: size, storageBytes: storageSize, indexBytes: totalIndexSize };
}

const bytesOf = (line: Line) => ("failure" in line ? -1 : line.bytes);

function fleetAsText(lines: Line[], all: boolean): string {
  const read = lines.filter((line) => !("failure" in line)) as ({ subaccountId: string } & Totals)[];
  const failed = lines.filter((line) => "failure" in line) as { subaccountId: string; failure: string }[];
  const sum = (name: keyof Totals) => read.reduce((total, line) => total + line[name], 0);
  const head = `${read.length} subaccounts: ${sum("chats")} chats, ${sum("messages")} messages, ${sum("bytes")} bytes`;
  const shown = all ? read : read.slice(0, listed);
  const rest =
    read.length > shown.length ? `${read.length - shown.length} smaller ones are listed with --all` : undefined;
  const rows = shown.map((line) => [line.subaccountId, line.chats, line.ongoing, line.messages, line.bytes]);
  return [
    head,
    table([["subaccount", "chats", "ongoing", "messages", "bytes"], ...rows]),
    rest,
    failed.length > 0 ? table(failed.map(({ subaccountId, failure }) => ["FAILED", subaccountId, failure])) : undefined,
  ]
    .filter((part) => part !== undefined)
    .join("\n\n");
}

function asText({ subaccountId, collection, ...of }: Report): string {
  const row = (name: string, { count, min, avg, p50, p95, max }: Spread, unit = 1) => [
    name,
    count,
    ...[min, avg, p50, p95, max].map((value) => Math.round((value / unit) * 10) / 10),
  ];
  return [
    `Subaccount ${subaccountId}: ${of.chats} chats`,
    table([["status", "chats"], ...Object.entries(of.byStatus)]),
    table([
      ["", "chats", "min", "avg", "p50", "p95", "max"],
      row("duration of ended chats, s", of.durationMs, 1_000),
      row("messages per chat", of.messagesPerChat),
      row("size of a chat, kB", of.bytesPerChat, 1_000),
    ]),
    table([["agent", "chats", "messages"], ...of.topAgents.map((a) => [a.agentId, a.chats, a.messages])]),
    table([["week of", "new chats", "their messages"], ...of.weeks.map((w) => [w.week, w.chats, w.messages])]),
    table([["largest", "bytes", "messages"], ...of.largest.map((c) => [c.chatId, c.bytes, c.messages])]),
    table([
      ["collection", "chats", "bytes", "on disk", "indexes"],
      ["chats", collection.chats, collection.bytes, collection.storageBytes, collection.indexBytes],
    ]),
  ].join("\n\n");
}
