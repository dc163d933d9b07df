import "./support/own-retell.ts";
import { type Document, ObjectId } from "mongodb";
import { describe, expect, it } from "vitest";
import { handler as run } from "../functions/sweep.ts";
import { copyPass } from "../ops/subaccount/copy.ts";
import { at, end, read, send, stored, tell } from "./support/chats.ts";
import { requests, runIn } from "./support/sweeps.ts";
import { tool } from "./support/tool.ts";
import { aChat, aWorld, call, central, control, fault, type World } from "./support/world.ts";

// The sweep's clock is put forward, and the simulator's goes with it.
await control("retell", "PUT", "/agents/agent_shop", { end_chat_after_silence_ms: null });

const remove = (world: World, chatId: string, query: Record<string, string> = {}) =>
  call("delete", { ...at(world, chatId), query });
const held = async (chatId: string) => (await control("retell", "GET", "/chats")).chats.find(idIs(chatId));
const idIs =
  (chatId: string) =>
  ({ chat_id }: { chat_id: string }) =>
    chat_id === chatId;
const answerOf = ({ status, body }: { status: number; body: { code?: string } }) => [status, body.code];
const gone = [404, "CHAT_NOT_FOUND"];
/** A request that Retell has got, whether it has answered it or not. */
const arrived = (step: string, chatId: string) =>
  control("retell", "GET", `/requests?step=${step}&chat_id=${chatId}&atLeast=1`);

/** A chat in which something was said. */
async function aTalkOf(world: World): Promise<string> {
  const chatId = await aChat(world, { metadata: { crm_id: "C-99" } });
  expect((await send(world, chatId, "Where is my order?")).status).toBe(200);
  return chatId;
}

/** The same in a tenant of its own, and the only one: runs of the sweep go over all subaccounts. */
async function aTalk(): Promise<{ world: World; chatId: string }> {
  await central.collection("subaccounts").deleteMany({});
  const world = await aWorld();
  return { world, chatId: await aTalkOf(world) };
}

/** What nothing may change any more. */
async function aDeleted(query = {}) {
  const talk = await aTalk();
  expect((await remove(talk.world, talk.chatId, query)).status).toBe(200);
  return { ...talk, tombstone: await keptOf(talk.world, talk.chatId) };
}

/** What is stored in the chat's place. */
async function keptOf(world: World, chatId: string): Promise<Document> {
  return (await stored(world, chatId)) ?? {};
}

async function expectGone({ world, chatId }: { world: World; chatId: string }): Promise<void> {
  for (const answer of [await read(world, chatId), await send(world, chatId), await end(world, chatId)]) {
    expect(answerOf(answer)).toEqual(gone);
  }
  const { token, subaccountId } = at(world, chatId);
  expect((await call("list", { token, subaccountId, query: { limit: "9" } })).body.data).toEqual([]);
}

describe("a deletion", () => {
  it("ends the chat at Retell, and is answered as the old server does: success, a message, the chat's id", async () => {
    const { world, chatId } = await aTalk();
    const { status, body } = await remove(world, chatId);
    expect(status).toBe(200);
    expect(body).toMatchObject({ success: true, message: "Chat deleted successfully" });
    expect(body.data).toEqual({ chat_id: chatId, deleted: true });
    expect((await held(chatId)).status).toBe("ended");
    await expectGone({ world, chatId });
    const { token, subaccountId } = at(world, chatId);
    expect((await call("search", { token, subaccountId, query: { q: "order" } })).body.data).toEqual([]);
    expect((await call("analytics", { token, subaccountId })).body.data.totals.chats).toBe(0);
    expect(answerOf(await call("export", { ...at(world, chatId), query: { format: "txt" } }))).toEqual(gone);
  });

  it("leaves nothing in the database but its ids, also not of words that were written beside it", async () => {
    const { world, chatId, tombstone } = await aDeleted();
    const words = world.db.collection<{ _id: string; chat_id: string }>("chatwords");
    expect(await words.countDocuments()).toBe(0);
    await words.insertOne({ _id: `${world.subaccountId}/${chatId}/0`, chat_id: chatId });
    const { internal, ...rest } = tombstone;
    expect(internal).toEqual({
      revision: 1,
      retellUserCount: 0,
      nextSweepAt: expect.any(Date),
      tombstone: { at: expect.any(Date), why: "deleted", endedAt: expect.any(Date) },
    });
    expect(rest).toMatchObject({ chat_id: chatId, subaccountId: world.subaccountId, start_timestamp: 0 });
    expect(JSON.stringify(tombstone)).not.toMatch(/order|C-99|canary|agent_shop/);
    await runIn(1);
    expect(await words.countDocuments()).toBe(0);
    expect((await stored(world, chatId))?.internal.nextSweepAt).toBeUndefined();
    await runIn(100);
    expect((await stored(world, chatId))?.internal.tombstone.why).toBe("deleted");
  });

  it("succeeds twice, and asks nothing of Retell the second time", async () => {
    const { world, chatId, tombstone } = await aDeleted();
    const again = await remove(world, chatId);
    expect([again.status, again.body.data]).toEqual([200, { chat_id: chatId, deleted: true }]);
    expect(await requests(world, "end")).toHaveLength(1);
    expect(await stored(world, chatId)).toEqual(tombstone);
    const second = await aTalkOf(world);
    const both = await Promise.all([remove(world, second), remove(world, second)]);
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
  });

  it("is 404 for a chat that never was, another tenant's, or one that a create gave up", async () => {
    const { world, chatId } = await aTalk();
    const other = await aWorld();
    expect(answerOf(await remove(world, "chat_of_nobody"))).toEqual(gone);
    expect(answerOf(await remove(other, chatId))).toEqual(gone);
    expect(await stored(other, chatId)).toBeNull();
    const given = { why: "orphan", at: new Date() };
    const document = { subaccountId: other.subaccountId, chat_id: "chat_given_up", internal: { tombstone: given } };
    await other.db.collection("chats").insertOne(document);
    expect(answerOf(await remove(other, "chat_given_up"))).toEqual(gone);
    for (const at_retell of ["yes", "1", "true,true"]) {
      const { status, body } = await remove(world, chatId, { at_retell });
      expect([status, body.errors[0].field]).toEqual([400, "at_retell"]);
    }
  });

  it("of a chat of the old server, or of any other shape, is the same", async () => {
    const world = await aWorld();
    const { subaccountId } = world;
    await world.db.collection("chats").insertMany([
      { subaccountId, chat_id: "chat_old", chat_status: "ended", messages: [{ role: "user", content: "hello" }] },
      { subaccountId, chat_id: "chat_odd", chat_status: 7, internal: "odd" },
    ]);
    for (const chatId of ["chat_old", "chat_odd"]) {
      expect((await remove(world, chatId)).status).toBe(200);
      expect((await stored(world, chatId))?.internal.tombstone.why).toBe("deleted");
    }
  });
});

describe("the end at Retell", () => {
  it.each([
    ["status", { status: 503 }],
    ["status", { status: 401 }],
    ["drop", {}],
  ])("is done all the same when Retell does not end the chat: the sweep ends it (%s %j)", async (kind, more) => {
    const { world, chatId } = await aTalk();
    await fault(world, "end", { kind, ...more });
    expect((await remove(world, chatId)).status).toBe(200);
    expect((await stored(world, chatId))?.internal.tombstone.endedAt).toBeUndefined();
    await expectGone({ world, chatId });
    await runIn(0.02);
    expect((await held(chatId)).status).toBe("ended");
    const { nextSweepAt, tombstone } = (await stored(world, chatId))?.internal ?? {};
    expect([nextSweepAt, tombstone.endedAt]).toEqual([undefined, expect.any(Date)]);
  });

  it("waits for a Retell account that is inactive, and the deletion does not", async () => {
    const world = await aWorld({ account: { isActive: false } });
    const { subaccountId, agentId: agent_id, apiKey: key } = world;
    const { chat_id: chatId } = await control("retell", "POST", "/chats", { key, agent_id });
    await world.db.collection("chats").insertOne({ subaccountId, chat_id: chatId, chat_status: "ongoing" });
    expect((await remove(world, chatId)).status).toBe(200);
    await runIn(0.02);
    expect((await held(chatId)).status).toBe("ongoing");
    const account = { subaccountId: new ObjectId(subaccountId) };
    await central.collection("retellaccounts").updateOne(account, { $set: { isActive: true } });
    await runIn(2);
    expect((await held(chatId)).status).toBe("ended");
  });

  it("is tried for 72 hours, after which Retell has closed the chat for its silence", async () => {
    const { world, chatId } = await aTalk();
    await fault(world, "end", { kind: "status", status: 503, count: 0 });
    await remove(world, chatId);
    for (const hours of [1, 10, 80]) await runIn(hours);
    expect((await stored(world, chatId))?.internal.nextSweepAt).toBeUndefined();
    await control("retell", "DELETE", "/faults");
  });
});

describe("with at_retell=true", () => {
  it("Retell deletes its copy, too; also when it is asked for at a second deletion", async () => {
    const { world, chatId } = await aTalk();
    const { body } = await remove(world, chatId, { at_retell: "true" });
    expect([body.data, body.meta.at_retell]).toEqual([{ chat_id: chatId, deleted: true }, "deleted"]);
    expect(await held(chatId)).toBeUndefined();
    expect((await remove(world, chatId, { at_retell: "true" })).body.meta.at_retell).toBe("deleted");
    expect(await requests(world, "delete")).toHaveLength(1);
    await runIn(1);
    expect((await stored(world, chatId))?.internal.nextSweepAt).toBeUndefined();

    const later = await aTalkOf(world);
    await remove(world, later);
    expect((await remove(world, later, { at_retell: "true" })).body.meta.at_retell).toBe("deleted");
    expect(await held(later)).toBeUndefined();
  });

  it.each([
    ["fails", { kind: "status", status: 500 }],
    ["fails after it has", { kind: "status", status: 500, effect: "before" }],
    ["does not answer, and has", { kind: "drop", effect: "before" }],
    ["answers something else", { kind: "garbage", as: "html" }],
  ])("the sweep repeats it where Retell %s", async (_, how) => {
    const { world, chatId } = await aTalk();
    await aChat(world); // Retell shows another chat of the subaccount
    await fault(world, "delete", how);
    expect((await remove(world, chatId, { at_retell: "true" })).body.meta.at_retell).toBe("pending");
    await expectGoneOf(world, chatId);
    await runIn(0.02);
    expect(await held(chatId)).toBeUndefined();
    const { nextSweepAt, tombstone } = (await stored(world, chatId))?.internal ?? {};
    expect([nextSweepAt, tombstone.atRetell]).toEqual([undefined, "deleted"]);
  });

  it("is not taken for done at Retell when its key is another workspace's", async () => {
    const { world, chatId } = await aTalk();
    await aChat(world);
    for (const step of ["end", "delete", "retrieve"])
      await fault(world, step, { kind: "status", status: 422, count: 0 });
    expect((await remove(world, chatId, { at_retell: "true" })).body.meta.at_retell).toBe("pending");
    for (const hours of [0.02, 1, 10]) await runIn(hours);
    expect((await stored(world, chatId))?.internal.tombstone.atRetell).toBe("pending");
    await control("retell", "DELETE", "/faults");
    await runIn(100);
    expect((await stored(world, chatId))?.internal.tombstone.atRetell).toBe("deleted");
    expect(await held(chatId)).toBeUndefined();
  });
});

const expectGoneOf = async (world: World, chatId: string) => expect(answerOf(await read(world, chatId))).toEqual(gone);

describe("a deleted chat", () => {
  it("stores nothing of a reply that comes after it, and tells its sender that the chat is gone", async () => {
    const { world, chatId } = await aTalk();
    await fault(world, "completion", { kind: "latency", ms: 300, chat_id: chatId });
    const request = { ...at(world, chatId), body: { content: "ping" }, headers: { "idempotency-key": "late" } };
    const sending = call("message", request);
    await arrived("completion", chatId);
    await fault(world, "end", { kind: "status", status: 503 }); // or Retell would drop the reply
    expect((await remove(world, chatId)).status).toBe(200);
    const tombstone = await stored(world, chatId);
    expect(tombstone?.internal.tombstone.endedAt).toBeUndefined();
    expect(answerOf(await sending)).toEqual(gone);
    expect(answerOf(await call("message", request))).toEqual(gone);
    expect(await stored(world, chatId)).toEqual(tombstone);
    await runIn(0.02);
    expect((await held(chatId)).status).toBe("ended");
  });

  it.each([
    ["refuses, as the chat is over", { kind: "latency", ms: 300 }, 29_000],
    ["does not answer", { kind: "hang" }, 5_600],
  ])("stores nothing of a send that Retell %s, after it", async (_, how, remainingMs) => {
    const { world, chatId } = await aTalk();
    await fault(world, "completion", { ...how, chat_id: chatId });
    const sending = call("message", { ...at(world, chatId), body: { content: "ping" }, remainingMs });
    await arrived("completion", chatId);
    await remove(world, chatId);
    const tombstone = await stored(world, chatId);
    expect(answerOf(await sending)).toEqual(gone);
    expect(await stored(world, chatId)).toEqual(tombstone);
  });

  it("stores nothing of webhooks, reads, sweeps and settles that come after it, or that began before", async () => {
    const { world, chatId } = await aTalk();
    const answer = await fetch(`${process.env.RETELL_BASE_URL}/get-chat/${chatId}`, {
      headers: { authorization: `Bearer ${world.apiKey}` },
    });
    const history: Document = JSON.parse(await answer.text());
    await fault(world, "retrieve", { kind: "latency", ms: 300, chat_id: chatId });
    await control("retell", "POST", `/chats/${chatId}`, { content: "said elsewhere" });
    const reading = read(world, chatId);
    await arrived("retrieve", chatId);
    await remove(world, chatId);
    const tombstone = await stored(world, chatId);
    expect(answerOf(await reading)).toEqual(gone);
    for (const event of ["chat_started", "chat_ended", "chat_analyzed"]) {
      await tell(world, event, { ...history, chat_status: "ended", chat_analysis: { chat_summary: "late" } });
    }
    await expectGone({ world, chatId });
    expect(await stored(world, chatId)).toEqual(tombstone);
    await runIn(0.5);
    await runIn(24);
    const { internal, ...rest } = await keptOf(world, chatId);
    expect(rest).toMatchObject({ messages: [], message_count: 0, chat_analysis: null, transcript: "" });
    expect(internal.tombstone).toEqual(tombstone?.internal.tombstone);
  });

  it("is not stored by the search for orphans, which ends it where it goes on", async () => {
    const { world, chatId } = await aTalk();
    await fault(world, "end", { kind: "status", status: 503 });
    await remove(world, chatId);
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $unset: { "internal.nextSweepAt": "" } });
    await control("retell", "PATCH", `/chats/${chatId}`, { start_timestamp: Date.now() - 900_000 });
    expect(await run()).toMatchObject({ orphansEnded: 1, failed: 0 });
    expect((await held(chatId)).status).toBe("ended");
    expect((await stored(world, chatId))?.internal.tombstone.why).toBe("deleted");
    await runIn(80);
    expect((await stored(world, chatId))?.internal.tombstone.why).toBe("deleted");
  });

  it("is not created again by a repeat of its create, whether its key has noted the chat or not", async () => {
    for (const at_retell of ["false", "true"]) {
      const world = await aWorld();
      const request = { ...at(world, ""), body: { agentId: world.agentId }, headers: { "idempotency-key": "k1" } };
      const chatId = (await call("create", request)).body.data.chat_id;
      await remove(world, chatId, { at_retell });
      expect(answerOf(await call("create", request))).toEqual(gone);
      // As a create leaves it that died before it noted its chat, long ago.
      const died = { $unset: { chat_id: "" }, $set: { at: new Date(Date.now() - 400_000), state: "unknown" } };
      await world.db.collection("chatrequests").updateOne({}, died);
      expect(answerOf(await call("create", request))).toEqual(gone);
      expect(await requests(world, "create")).toHaveLength(1);
      expect(await world.db.collection("chats").countDocuments()).toBe(1);
    }
  });

  it("is neither found nor stored after a restore that has its tombstone, and moves as one", async () => {
    const { world, chatId, tombstone } = await aDeleted();
    const of = ["--subaccount", world.subaccountId, "--restored-to", new Date(Date.now() - 60_000).toISOString()];
    expect((await tool("resume", [...of, "--yes"])).stdout).toContain("0 chats of Retell stored, 0 ongoing chats");
    await expectGone({ world, chatId });
    const other = await aWorld();
    await copyPass(world.db, other.db, world.subaccountId);
    expect(await other.db.collection("chats").find().toArray()).toEqual([tombstone]);
  });

  it("is shown by no cache, and no ETag of it is valid", async () => {
    const { world, chatId } = await aTalk();
    await end(world, chatId);
    const { token, subaccountId } = at(world, chatId);
    const list = { token, subaccountId };
    for (const _ of [1, 2]) {
      await call("list", list);
      await read(world, chatId);
    }
    const shown = await read(world, chatId);
    const listed = await call("list", list);
    expect([shown.body.meta.cached, listed.body.meta.cached]).toEqual([true, true]);
    await remove(world, chatId);
    const unless = ({ headers }: typeof shown) => ({ headers: { "if-none-match": headers.etag ?? "" } });
    expect(answerOf(await call("transcript", { ...at(world, chatId), ...unless(shown) }))).toEqual(gone);
    const again = await call("list", { ...list, ...unless(listed) });
    expect([again.status, again.body.data]).toEqual([200, []]);
  });

  it("is dropped from the caches by the sweep where Redis was away", async () => {
    const { world, chatId } = await aTalk();
    await end(world, chatId);
    await read(world, chatId);
    expect((await read(world, chatId)).body.meta.cached).toBe(true);
    const { redis } = await import("../lib/platform/redis.ts");
    const { chatKey } = await import("../lib/chat/cache.ts");
    const { name } = chatKey(world.subaccountId, chatId);
    const value = (await redis.mget([name]))[0] ?? "";
    await remove(world, chatId);
    await redis.set(name, value, 300); // as if the deletion had not reached Redis
    expect((await read(world, chatId)).status).toBe(200);
    await runIn(0.02);
    expect(answerOf(await read(world, chatId))).toEqual(gone);
  });
});
