import type { Document } from "mongodb";
import { describe, expect, it } from "vitest";
import { newMessageId } from "../lib/chat/new-message.ts";
import { aChat, aWorld, call, central, type Request, type Response, type World } from "./support/world.ts";

const owned = ({ owner, subaccountId }: World, chatId: string, more: Request = {}) => ({
  token: owner.token,
  subaccountId,
  chatId,
  ...more,
});

/** A chat that Retell knows, with so many messages in our database and the text of each. */
async function aLongChat(world: World, count: number, content: string): Promise<string> {
  const chatId = await aChat(world);
  const messages = [...Array(count).keys()].map((i) => ({
    message_id: newMessageId(),
    role: "agent",
    content,
    created_timestamp: 1_795_475_267_333 + i,
    internal: {},
  }));
  await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { messages } });
  return chatId;
}

/** What the replica set's journal holds of a tenant's chats, one entry a write. */
async function journal({ db }: World): Promise<Document[]> {
  const oplog = central.client.db("local").collection("oplog.rs");
  return oplog
    .aggregate([{ $match: { ns: `${db.databaseName}.chats` } }, { $set: { bytes: { $bsonSize: "$$ROOT" } } }])
    .toArray();
}

describe("what grows with a chat", () => {
  it("is not what a send writes to the journal: at 5,000 messages as much as at 10", async () => {
    const world = await aWorld();
    const written: number[] = [];
    for (const count of [10, 5_000]) {
      const chatId = await aLongChat(
        world,
        count,
        "A sentence of the usual length, which is about eighty characters or so.",
      );
      const before = (await journal(world)).length;
      const { status } = await call("message", owned(world, chatId, { body: { content: "ping" } }));
      expect(status).toBe(200);
      const entries = (await journal(world)).slice(before);
      expect(entries).toHaveLength(2); // BEGIN and FINISH
      written.push(entries.reduce((sum, { bytes }) => sum + bytes, 0));
    }
    const [short = 0, long = 0] = written;
    expect(short).toBeGreaterThan(0);
    expect(long / short).toBeLessThanOrEqual(1.1);
  });

  it.each(["gzip", "identity"])("is not an answer over 5.5 MB: 5,000 messages come in pages, as %s", async (coding) => {
    const world = await aWorld();
    const chatId = await aLongChat(world, 5_000, 'Each "line" of it\nis escaped twice. '.repeat(35));
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { chat_status: "ended" } });
    const read = (query: Record<string, string>): Promise<Response> =>
      call("transcript", owned(world, chatId, { query, headers: { "accept-encoding": coding } }));

    const seen: number[] = [];
    let pages = 0;
    for (let query = {}, more = true; more; pages++) {
      const { body, lambdaBytes } = await read(query);
      expect(lambdaBytes).toBeLessThan(5_510_000);
      seen.push(...body.data.messages.map(({ seq }: { seq: number }) => seq));
      more = body.meta.hasMore;
      query = { after_seq: String(body.meta.nextSeq) };
    }
    expect(pages).toBeGreaterThan(1);
    expect(seen).toEqual([...Array(5_000).keys()].map((i) => i + 1));

    const last = await read({ after_seq: "4990", limit: "5" });
    expect(last.body.data.messages.map(({ seq }: { seq: number }) => seq)).toEqual([4_991, 4_992, 4_993, 4_994, 4_995]);
    expect(last.body.meta).toMatchObject({ hasMore: true, nextSeq: 4_995 });
  });
});
