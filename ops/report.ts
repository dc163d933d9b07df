/** `npm run report -- --subaccount ID [--json]`: what a subaccount's chats are like. Reads, and changes nothing. */
import { parseArgs } from "node:util";
import { type Db, MongoClient } from "mongodb";
import { loadSubaccount } from "../lib/access/membership.ts";
import { connectionStringOf } from "../lib/access/tenant.ts";
import { isPresent } from "../lib/chat/store/collection.ts";
import { type Chat, type Spread, type Tally, tally } from "./report/tally.ts";
import { runTool } from "./run-tool.ts";
import { subaccountIdOf } from "./subaccount.ts";
import { table } from "./table.ts";

const usage = "npm run report -- --subaccount ID [--json]";

/** Of the whole collection: subaccounts may share one. */
interface Size {
  chats: number;
  bytes: number;
  storageBytes: number;
  indexBytes: number;
}

type Report = { subaccountId: string } & Tally & { collection: Size };

/** All chats of a subaccount, of each only what is counted. */
export function chatsOf(db: Db, subaccountId: string) {
  return db.collection("chats").find<Chat>(
    { subaccountId, ...isPresent },
    {
      projection: {
        _id: 0,
        chat_id: 1,
        agent_id: 1,
        chat_status: 1,
        start_timestamp: 1,
        end_timestamp: 1,
        message_count: 1,
        bytes: { $bsonSize: "$$ROOT" },
      },
      batchSize: 1_000,
    },
  );
}

async function sizeOf(db: Db): Promise<Size> {
  const exists = await db.listCollections({ name: "chats" }).hasNext();
  const [stats] = exists
    ? await db
        .collection("chats")
        .aggregate([{ $collStats: { storageStats: {} } }])
        .toArray()
    : [];
  const { count = 0, size = 0, storageSize = 0, totalIndexSize = 0 } = stats?.storageStats ?? {};
  return { chats: count, bytes: size, storageBytes: storageSize, indexBytes: totalIndexSize };
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { subaccount: { type: "string" }, json: { type: "boolean" } } });
  const subaccountId = subaccountIdOf(values.subaccount, usage);
  const location = await loadSubaccount(subaccountId);
  if (!location) throw new Error(`There is no subaccount ${subaccountId}`);

  // Not the API's client: that gives up after two seconds. Nor its server, where there is another.
  const options = { appName: "scalai-chat report", readPreference: "secondaryPreferred" } as const;
  const client = new MongoClient(await connectionStringOf(subaccountId, location), options);
  try {
    const db = client.db(location.databaseName);
    const report = { subaccountId, ...(await tally(chatsOf(db, subaccountId))), collection: await sizeOf(db) };
    console.log(values.json ? JSON.stringify(report, null, 2) : asText(report));
  } finally {
    await client.close();
  }
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

if (import.meta.main) await runTool(main);
