import "./support/own-retell.ts";
import { ObjectId } from "mongodb";
import { describe, expect, it, vi } from "vitest";
import { handler as run } from "../functions/sweep.ts";
import { at, atRetell, stored } from "./support/chats.ts";
import { linesOf } from "./support/instance.ts";
import { aLog } from "./support/log.ts";
import { anOrphan } from "./support/orphan.ts";
import { requests, runIn } from "./support/sweeps.ts";
import { aChat, aWorld, call, central, control, fault, type World } from "./support/world.ts";

const send = (world: World, chatId: string, content = "ping", more: object = {}) =>
  call("message", { ...at(world, chatId), body: { content }, ...more });

const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);

/** Makes a chat due. */
const isDue = (world: World, chatId: string, more: object = {}) =>
  world.db
    .collection("chats")
    .updateOne({ chat_id: chatId }, { $set: { "internal.nextSweepAt": new Date(Date.now() - 1), ...more } });

describe("the sweep", () => {
  it("settles a turn that nobody came back for, under that send's operationId", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "late", ms: 60_000 });
    const lost = await send(world, chatId, "ping", { remainingMs: 5_300 });
    await control("retell", "POST", "/clock", { advanceMs: 60_000 });
    await isDue(world, chatId);
    await run();
    const chat = await stored(world, chatId);
    expect(chat?.messages.map((m: { role: string }) => m.role)).toEqual(["agent", "user", "agent"]);
    expect(chat?.internal.turn).toBeUndefined();
    expect(linesOf(lost.body.meta.operationId)).toContainEqual(
      expect.objectContaining({
        message: "Turn settled",
        operation: "sweep",
        outcome: "delivered",
        turnId: lost.body.details.turnId,
        settledBy: expect.any(String),
      }),
    );
  });

  it.each([
    ["fails", 500, { retellStatus: 500, retellError: "InternalServerError" }],
    ["refuses the account", 403, { retellStatus: 403, tenantCause: "account" }],
  ])("says which turn stays open and why, and does not count it as settled: Retell %s", async (_what, status, told) => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "drop" });
    const lost = await send(world, chatId);
    const began = { "internal.turn.at": new Date(Date.now() - 1_202_000) };
    await isDue(world, chatId, began);
    await fault(world, "retrieve", { kind: "status", status });
    const { settled, oldestOpenSeconds } = await run();
    // A turn that waits for its tenant's account is told by the subaccount that is failing.
    expect([settled, oldestOpenSeconds]).toEqual([0, status === 403 ? 0 : expect.closeTo(1_202, -1)]);
    const { subaccountId } = world;
    const known = { level: "WARN", operation: "sweep", subaccountId, chatId, settledBy: expect.any(String) };
    expect(linesOf(lost.body.meta.operationId)).toContainEqual(
      expect.objectContaining({
        ...{ message: "A turn is still open", turnId: lost.body.details.turnId, ...known, ...told },
        openSeconds: expect.closeTo(1_202, -1),
      }),
    );
  });

  it("settles the turn of a sender that died, and not the turn of one that may live", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "drop" });
    await send(world, chatId);
    const sending = { "internal.turn.state": "sending" };
    await isDue(world, chatId, sending);
    await run();
    expect((await stored(world, chatId))?.internal.turn.state).toBe("sending");
    expect((await stored(world, chatId))?.internal.nextSweepAt.getTime()).toBeGreaterThan(Date.now());

    await isDue(world, chatId, { ...sending, "internal.turn.at": new Date(Date.now() - 331_000) });
    await run();
    expect((await stored(world, chatId))?.messages.at(-1)).toMatchObject({ internal: { failed: true } });
  });

  it("notices that Retell has closed a silent chat, and comes back for its analysis", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    await isDue(world, chatId);
    await run();
    const chat = await stored(world, chatId);
    expect(chat?.chat_status).toBe("ended");
    expect(chat?.chat_analysis).toBeNull();
    expect(chat?.internal.nextSweepAt.getTime()).toBeGreaterThan(Date.now());

    await control("retell", "POST", "/clock", { advanceMs: 60_000 });
    await isDue(world, chatId);
    await run();
    const after = await stored(world, chatId);
    expect(after?.chat_analysis).toMatchObject({ chat_summary: expect.any(String) });
    expect(after?.chat_cost.combined_cost).toBeGreaterThan(0);
    expect(after?.internal.nextSweepAt).toBeUndefined();
  });

  it.each([
    ["has been silent for a day", {}, { lastMessageAt: hoursAgo(24) }],
    ["ended seven hours ago", { status: "ended" }, { chat_status: "ended", endedAt: hoursAgo(7) }],
  ])("asks again in minutes after a chat that %s, when Retell does not answer", async (_what, theirs, ours) => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, theirs);
    await isDue(world, chatId, ours);
    await fault(world, "retrieve", { kind: "status", status: 503 });
    await run();
    expect(((await stored(world, chatId))?.internal.nextSweepAt - Date.now()) / 60_000).toBeCloseTo(5, 0);
  });

  it.each([
    ["that Retell does not know any more", { lastMessageAt: hoursAgo(24) }, 422, 24],
    ["that has not been readable for a week", { lastMessageAt: hoursAgo(169) }, 503, 72],
  ])("does not ask again in minutes after one %s", async (_what, ours, status, hours) => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await isDue(world, chatId, ours);
    await fault(world, "retrieve", { kind: "status", status });
    await run();
    expect(((await stored(world, chatId))?.internal.nextSweepAt - Date.now()) / 3_600_000).toBeCloseTo(hours, 0);
  });

  it("leaves alone what is not due, and what the old server wrote", async () => {
    const world = await aWorld();
    await aChat(world);
    const { insertedId } = await world.db
      .collection("chats")
      .insertOne({ chat_id: "chat_old", chat_status: "ongoing", subaccountId: world.subaccountId, messages: [] });
    await run();
    expect(await requests(world, "retrieve")).toEqual([]);
    expect(await world.db.collection("chats").findOne({ _id: insertedId })).not.toHaveProperty("internal");
  });

  it("run twice at once settles each chat once", async () => {
    const world = await aWorld();
    const ids = await Promise.all([...Array(8)].map(() => aChat(world)));
    for (const id of ids) await isDue(world, id);
    const reports = await Promise.all([run(), run(), run()]);
    expect(reports.reduce((sum, { settled }) => sum + settled, 0)).toBeGreaterThanOrEqual(8);
    expect(await requests(world, "retrieve")).toHaveLength(8);
  });

  it("stops at an account's first 429, and sweeps the others", async () => {
    const [limited, other] = [await aWorld(), await aWorld()];
    for (const world of [limited, other]) for (let i = 0; i < 3; i++) await isDue(world, await aChat(world));
    await fault(limited, "retrieve", { kind: "status", status: 429, count: 0 });
    await run();
    expect(await requests(limited, "retrieve")).toHaveLength(1);
    expect(await requests(other, "retrieve")).toHaveLength(3);
    await control("retell", "DELETE", "/faults");
  });

  it("stops at an account that has failed five times in a row", async () => {
    const world = await aWorld();
    for (let i = 0; i < 7; i++) await isDue(world, await aChat(world));
    await fault(world, "retrieve", { kind: "drop", count: 0 });
    await run();
    expect(await requests(world, "retrieve")).toHaveLength(5);
    // The sixth was claimed and refused.
    const due = { "internal.nextSweepAt": { $lt: new Date() } };
    expect(await world.db.collection("chats").countDocuments(due)).toBe(1);
    await control("retell", "DELETE", "/faults");
  });

  it("takes no more than its bound of one subaccount", async () => {
    const { sweep } = await import("../lib/chat/sweep/sweep.ts");
    const world = await aWorld();
    for (let i = 0; i < 4; i++) await isDue(world, await aChat(world));
    await sweep({ until: Date.now() + 60_000, perSubaccount: 3 }, aLog("sweep"));
    expect(await requests(world, "retrieve")).toHaveLength(3);
  });

  it("ends a chat at Retell that a create of ours left there, and no other of the workspace", async () => {
    const world = await aWorld();
    await fault(world, "create", { kind: "drop", effect: "before" });
    const body = { agentId: world.agentId };
    const lost = await call("create", { token: world.owner.token, subaccountId: world.subaccountId, body });
    expect(lost.status).toBe(504);
    const ours = (await atRetell(world))[0].chat_id;
    const kept = await aChat(world);
    const others = [{}, { _scalai_chat: { subaccountId: "5ca1ab1e0000000000000099", stage: "test" } }];
    for (const metadata of others) {
      await control("retell", "POST", "/chats", { key: world.apiKey, agent_id: world.agentId, metadata });
    }
    await run(); // too young: whoever created it may still come back
    expect((await atRetell(world)).every((chat: { status: string }) => chat.status === "ongoing")).toBe(true);

    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 20 * 60_000 });
    try {
      await run();
    } finally {
      vi.useRealTimers();
    }
    const ended = (await atRetell(world)).filter((chat: { status: string }) => chat.status === "ended");
    expect(ended.map((chat: { chat_id: string }) => chat.chat_id)).toEqual([ours]);
    expect(linesOf(lost.body.meta.operationId)).toContainEqual(
      expect.objectContaining({ message: "An orphan was ended at Retell", operation: "sweep", chatId: ours }),
    );
    expect((await stored(world, kept))?.chat_status).toBe("ongoing");
  });

  it("finds orphans also after looks that have failed for hours", async () => {
    await control("retell", "PUT", "/agents/agent_patient", { end_chat_after_silence_ms: null });
    const world = await aWorld({ agentId: "agent_patient" });
    const orphan = await anOrphan(world, 2 * 3_600_000);
    await fault(world, "list", { kind: "status", status: 503, count: 2 });
    for (const [hours, orphansEnded] of [
      [0, 0],
      [2, 0],
      [4, 1],
      [6, 0],
    ] as const) {
      expect(await runIn(hours)).toMatchObject({ orphansEnded });
    }
    expect((await control("retell", "GET", `/chats/${orphan}`)).status).toBe("ended");
    // After a search that was completed, the next one covers only the last hours.
    const [request] = (await requests(world, "list")).slice(-1);
    expect(request.body.filter_criteria.start_timestamp.value[0]).toBeGreaterThan(hoursAgo(-2).getTime());
  });

  it("finds orphans that were left before an account was switched off, once it is on again", async () => {
    await control("retell", "PUT", "/agents/agent_patient", { end_chat_after_silence_ms: null });
    const world = await aWorld({ agentId: "agent_patient" });
    const orphan = await anOrphan(world, 2 * 3_600_000);
    const switched = (isActive: boolean) =>
      central
        .collection("retellaccounts")
        .updateOne({ subaccountId: new ObjectId(world.subaccountId) }, { $set: { isActive } });
    for (const [hours, isActive, orphansEnded] of [
      [0, false, 0],
      [3, true, 1],
    ] as const) {
      await switched(isActive);
      expect(await runIn(hours)).toMatchObject({ orphansEnded });
    }
    expect((await control("retell", "GET", `/chats/${orphan}`)).status).toBe("ended");
  });

  it("goes on to the next when one of an account's orphans cannot be ended", async () => {
    const world = await aWorld();
    for (let i = 0; i < 2; i++) await anOrphan(world);
    await fault(world, "end", { kind: "status", status: 500 });
    expect(await run()).toMatchObject({ orphansEnded: 1, failed: 1 });
    const statuses = (await atRetell(world)).map(({ status }: { status: string }) => status);
    expect(statuses.sort()).toEqual(["ended", "ongoing"]);
  });

  it.each([
    ["has no date of its last message", { $unset: { lastMessageAt: "", updatedAt: "" } }, 72 * 60],
    ["has a turn that began nobody knows when", { $set: { "internal.turn": { id: "t", state: "unknown" } } }, 2],
  ])("goes on to the next, and to orphans, after a chat that %s", async (_what, update, minutes) => {
    const world = await aWorld();
    const [odd, even, orphan] = [await aChat(world), await aChat(world), await anOrphan(world)];
    await world.db.collection("chats").updateOne({ chat_id: odd }, update);
    await isDue(world, odd, { "internal.nextSweepAt": new Date(Date.now() - 10_000) });
    await isDue(world, even);
    expect(await run()).toMatchObject({ orphansEnded: 1 });
    expect(await requests(world, "retrieve")).toHaveLength(2);
    expect((await stored(world, even))?.internal.nextSweepAt.getTime()).toBeGreaterThan(Date.now());
    expect(((await stored(world, odd))?.internal.nextSweepAt - Date.now()) / 60_000).toBeCloseTo(minutes, 0);
    expect((await control("retell", "GET", `/chats/${orphan}`)).status).toBe("ended");
  });
});
