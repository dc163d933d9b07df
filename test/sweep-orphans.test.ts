import "./support/own-retell.ts";
import { ObjectId } from "mongodb";
import { beforeEach, describe, expect, it } from "vitest";
import { handler as run } from "../functions/sweep.ts";
import { at, atRetell, stored } from "./support/chats.ts";
import { logged, metered } from "./support/instance.ts";
import { anOrphan } from "./support/orphan.ts";
import { requests, runIn } from "./support/sweeps.ts";
import { aChat, aWorld, call, central, control, fault, type World } from "./support/world.ts";

// Runs go over all subaccounts.
beforeEach(async () => {
  await central.collection("subaccounts").deleteMany({});
});

describe("what is left of an orphan", () => {
  /** An orphan that a run has ended; its id and its tombstone. */
  async function anEnded(world: World) {
    const chatId = await anOrphan(world);
    expect(await run()).toMatchObject({ orphansEnded: 1, failed: 0 });
    return { chatId, tombstone: await stored(world, chatId) };
  }

  it("is a document that the old server can list, and that no endpoint of ours shows", async () => {
    const world = await aWorld();
    const kept = await aChat(world);
    const { chatId, tombstone } = await anEnded(world);
    const chat = await stored(world, kept);
    const shape = ({ internal: _ours, endedAt: _ofEnded, ...document }: Record<string, unknown> = {}) =>
      Object.fromEntries(
        Object.entries(document).map(([name, value]) => [name, value instanceof Date ? "date" : typeof value]),
      );
    expect(shape(tombstone ?? {})).toEqual({ ...shape(chat ?? {}), end_timestamp: "number" });
    expect(tombstone).toMatchObject({
      chat_status: "ended",
      messages: [],
      message_count: 0,
      endedAt: expect.any(Date),
      internal: { tombstone: { at: expect.any(Date), why: "orphan", endedAt: expect.any(Date) } },
    });

    const { token, subaccountId } = at(world, chatId);
    const { body } = await call("list", { token, subaccountId });
    expect(body.data.map(({ chat_id }: { chat_id: string }) => chat_id)).toEqual([kept]);
    for (const answer of [
      await call("transcript", at(world, chatId)),
      await call("message", { ...at(world, chatId), body: { content: "ping" } }),
      await call("end", at(world, chatId)),
    ]) {
      expect([answer.status, answer.body.code]).toEqual([404, "CHAT_NOT_FOUND"]);
    }
    expect(await stored(world, chatId)).toEqual(tombstone);
  });

  it("goes after 72 hours", async () => {
    const world = await aWorld();
    const { chatId } = await anEnded(world);
    await runIn(71);
    expect(await stored(world, chatId)).not.toBeNull();
    await runIn(73);
    expect(await stored(world, chatId)).toBeNull();
  });

  it("is due until Retell has ended the chat: the sweep tries again", async () => {
    const world = await aWorld();
    const chatId = await anOrphan(world);
    await fault(world, "end", { kind: "status", status: 503, count: 2 });
    expect(await run()).toMatchObject({ orphansEnded: 0, failed: 1 });
    expect((await stored(world, chatId))?.internal.tombstone.endedAt).toBeUndefined();
    expect(await runIn(0.05)).toMatchObject({ orphansEnded: 0 });
    expect(await runIn(0.2)).toMatchObject({ orphansEnded: 1 });
    expect((await control("retell", "GET", `/chats/${chatId}`)).status).toBe("ended");
    await runIn(1);
    expect(await requests(world, "end")).toHaveLength(3);
  });

  it("is no end while Retell refuses to end the chat, and to show it", async () => {
    const world = await aWorld();
    const chatId = await anOrphan(world);
    for (const step of ["end", "retrieve"]) await fault(world, step, { kind: "status", status: 422 });
    expect(await run()).toMatchObject({ orphansEnded: 0, failed: 1 });
    expect((await control("retell", "GET", `/chats/${chatId}`)).status).toBe("ongoing");
    expect(await runIn(0.05)).toMatchObject({ orphansEnded: 1 });
    expect((await control("retell", "GET", `/chats/${chatId}`)).status).toBe("ended");
  });

  it("is no end while Retell refuses to end a chat that goes on", async () => {
    const world = await aWorld();
    const chatId = await anOrphan(world);
    await fault(world, "end", { kind: "status", status: 400 });
    expect(await run()).toMatchObject({ orphansEnded: 0, failed: 1 });
    expect(await runIn(0.05)).toMatchObject({ orphansEnded: 1 });
    expect((await control("retell", "GET", `/chats/${chatId}`)).status).toBe("ended");
  });

  it("is an end where Retell refuses one since the chat is over", async () => {
    const world = await aWorld();
    const chatId = await anOrphan(world);
    await fault(world, "end", { kind: "status", status: 400, effect: "before" });
    expect(await run()).toMatchObject({ orphansEnded: 1, failed: 0 });
    expect((await stored(world, chatId))?.internal.tombstone.endedAt).toBeInstanceOf(Date);
  });

  it("is found by no look for orphans a second time, should Retell's list lag", async () => {
    const world = await aWorld();
    const { tombstone } = await anEnded(world);
    const lagging = await anOrphan(world);
    const { _id, ...document } = tombstone ?? {};
    await world.db.collection("chats").insertOne({ ...document, chat_id: lagging });
    expect(await runIn(0.5)).toMatchObject({ orphansEnded: 0 });
    expect(await requests(world, "end")).toHaveLength(1);
  });
});

describe("a subaccount whose database is another one than before", () => {
  const own = ({ subaccountId }: World) => ({ _id: new ObjectId(subaccountId) });
  const move = (world: World, databaseName: string) =>
    central.collection("subaccounts").updateOne(own(world), { $set: { databaseName } });
  const statuses = async (world: World): Promise<string[]> =>
    (await atRetell(world)).map(({ status }: { status: string }) => status);
  const errorsOf = (world: World) =>
    logged
      .map((line) => JSON.parse(line))
      .filter(({ level, subaccountId }) => level === "ERROR" && subaccountId === world.subaccountId);

  /** A tenant with three chats that go on, and whose database is noted. */
  async function aNoted(): Promise<World> {
    await control("retell", "PUT", "/agents/agent_patient", { end_chat_after_silence_ms: null });
    const world = await aWorld({ agentId: "agent_patient" });
    for (let i = 0; i < 3; i++) await aChat(world);
    await run();
    return world;
  }

  it("loses no chat: none is ended at Retell, and that is said", async () => {
    const world = await aNoted();
    await move(world, `t_other_${world.subaccountId}`);
    for (const hours of [0.5, 1, 12, 48, 96]) expect(await runIn(hours)).toMatchObject({ orphansEnded: 0 });
    expect(await statuses(world)).toEqual(["ongoing", "ongoing", "ongoing"]);
    expect(errorsOf(world)).toMatchObject([{ operation: "sweep" }, { operation: "sweep" }]);
    expect(metered.some((line) => JSON.parse(line).ChangedDatabases === 1)).toBe(true);
  });

  it("loses none either when it is moved back", async () => {
    const world = await aNoted();
    const databaseName = `t_${world.subaccountId}`;
    await move(world, `t_other_${world.subaccountId}`);
    await runIn(0.5);
    await move(world, databaseName);
    for (const hours of [1, 12, 48]) expect(await runIn(hours)).toMatchObject({ orphansEnded: 0 });
    expect(await statuses(world)).toEqual(["ongoing", "ongoing", "ongoing"]);
  });

  it("has its orphans ended as before, once they were begun after the move", async () => {
    const world = await aNoted();
    await move(world, `t_other_${world.subaccountId}`);
    await runIn(0.5);
    const orphan = await anOrphan(world, -2 * 3_600_000);
    expect(await runIn(3)).toMatchObject({ orphansEnded: 1 });
    expect((await control("retell", "GET", `/chats/${orphan}`)).status).toBe("ended");
    expect((await statuses(world)).filter((status) => status === "ongoing")).toHaveLength(3);
  });

  it("is none where the same database has another address", async () => {
    const world = await aNoted();
    const { encrypt } = await import("../lib/platform/crypto.ts");
    const url = new URL(process.env.MONGODB_URL ?? "");
    url.searchParams.set("appName", "other");
    const mongodbUrl = await encrypt(url.toString(), world.subaccountId);
    await central.collection("subaccounts").updateOne(own(world), { $set: { mongodbUrl } });
    const orphan = await anOrphan(world);
    expect(await runIn(0.5)).toMatchObject({ orphansEnded: 1, failed: 0 });
    expect((await control("retell", "GET", `/chats/${orphan}`)).status).toBe("ended");
    expect(errorsOf(world)).toEqual([]);
  });
});
