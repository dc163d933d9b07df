import "./support/own-retell.ts";
import { beforeEach, describe, expect, it } from "vitest";
import { at, stored } from "./support/chats.ts";
import { logged } from "./support/instance.ts";
import { runIn } from "./support/sweeps.ts";
import { aChat, aWorld, call, central, control, fault, type World } from "./support/world.ts";

// Runs go over all subaccounts.
beforeEach(async () => {
  await central.collection("subaccounts").deleteMany({});
});

describe("a chat that Retell has not any more", () => {
  /** A tenant whose chats do not close by themselves, although the test moves the simulator's clock. */
  async function aPatient(): Promise<World> {
    await control("retell", "PUT", "/agents/agent_patient", { end_chat_after_silence_ms: null });
    return aWorld({ agentId: "agent_patient" });
  }

  /** Runs the sweep this many days from now, each time when the chat is due. */
  async function runOn(world: World, chatId: string, days: number[]): Promise<void> {
    for (const day of days) {
      const due = { "internal.nextSweepAt": new Date(Date.now() - 1) };
      await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: due });
      await runIn(24 * day);
    }
  }

  it("is closed after a week of refusals, and a send to it is CHAT_ENDED", async () => {
    const world = await aPatient();
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { retained: false });
    await runOn(world, chatId, [0, 3, 6]);
    expect((await stored(world, chatId))?.chat_status).toBe("ongoing");
    await runOn(world, chatId, [7.1]);
    const chat = await stored(world, chatId);
    expect(chat).toMatchObject({ chat_status: "ended", end_timestamp: expect.any(Number), endedAt: expect.any(Date) });
    expect([chat?.internal.nextSweepAt, chat?.internal.refusedSince]).toEqual([undefined, undefined]);
    const sent = await call("message", { ...at(world, chatId), body: { content: "ping" } });
    expect([sent.status, sent.body.code]).toEqual([409, "CHAT_ENDED"]);
    const said = logged
      .map((line) => JSON.parse(line))
      .find((line) => line.chatId === chatId && line.message.startsWith("A chat was closed"));
    expect(said).toMatchObject({ level: "WARN", operation: "sweep", subaccountId: world.subaccountId });
  });

  it("is closed after a week, though Retell did not answer in between", async () => {
    const world = await aPatient();
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { retained: false });
    await runOn(world, chatId, [0, 3]);
    await fault(world, "retrieve", { kind: "status", status: 503 });
    await runOn(world, chatId, [5]);
    expect((await stored(world, chatId))?.chat_status).toBe("ongoing");
    await runOn(world, chatId, [7.1]);
    expect((await stored(world, chatId))?.chat_status).toBe("ended");
  });

  it.each([
    [
      "that Retell has shown in between",
      async (world: World, chatId: string) => {
        await runOn(world, chatId, [0]);
        await control("retell", "PATCH", `/chats/${chatId}`, { retained: true });
        await runOn(world, chatId, [3]);
        await control("retell", "PATCH", `/chats/${chatId}`, { retained: false });
        await runOn(world, chatId, [6, 8]);
      },
    ],
    [
      "in which somebody has spoken",
      async (world: World, chatId: string) => {
        await runOn(world, chatId, [0, 3]);
        await world.db
          .collection("chats")
          .updateOne({ chat_id: chatId }, { $set: { lastMessageAt: new Date(Date.now() + 72 * 3_600_000) } });
        await runOn(world, chatId, [8]);
      },
    ],
  ])("stays open, if it is one %s", async (_what, play) => {
    const world = await aPatient();
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { retained: false });
    await play(world, chatId);
    expect((await stored(world, chatId))?.chat_status).toBe("ongoing");
  });

  it.each([401, 402, 403, 429, 408, 503])("is not taken for one whose reading is answered with %i", async (status) => {
    const world = await aPatient();
    const chatId = await aChat(world);
    await fault(world, "retrieve", { kind: "status", status, count: 0 });
    await runOn(world, chatId, [0, 4, 8]);
    await control("retell", "DELETE", "/faults");
    expect((await stored(world, chatId))?.chat_status).toBe("ongoing");
  });

  it("is told from one that a key of another workspace does not show", async () => {
    const world = await aPatient();
    const [chatId, other] = [await aChat(world), await aChat(world)];
    await fault(world, "retrieve", { kind: "status", status: 422, count: 0 });
    await runOn(world, chatId, [0, 4, 8]);
    expect((await stored(world, chatId))?.chat_status).toBe("ongoing");
    await control("retell", "DELETE", "/faults");
    await control("retell", "PATCH", `/chats/${chatId}`, { retained: false });
    await runOn(world, chatId, [9]);
    expect((await stored(world, chatId))?.chat_status).toBe("ended");
    expect((await stored(world, other))?.internal.tombstone).toBeUndefined();
  });
});
