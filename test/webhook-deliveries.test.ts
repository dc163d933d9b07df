import "./support/own-retell.ts";
import type { Document } from "mongodb";
import { afterEach, describe, expect, it } from "vitest";
import { at, send, stored, sweepLater } from "./support/chats.ts";
import { aGateway } from "./support/gateway.ts";
import { aChat, aWorld, call, control, fault, type World } from "./support/world.ts";

/** The simulator sends its webhooks to the API, through the gateway. */
const gateway = await aGateway();
afterEach(() => control("retell", "DELETE", "/faults"));

const listen = (world: World, settings: object = {}) =>
  control("retell", "PUT", `/webhooks/${world.apiKey}`, {
    url: `${gateway.url}/api/webhooks/retell/${world.subaccountId}`,
    retryDelayMs: 0,
    ...settings,
  });

const usersOf = (chat: Document | null) =>
  chat?.messages.filter(({ role }: Document) => role === "user").map(({ content }: Document) => content);
const deliveries = async (world: World, atLeast: number) =>
  (await control("retell", "GET", `/deliveries?atLeast=${atLeast}&key=${world.apiKey}`)).deliveries;
/** Moves the clock by a minute. By then Retell has analyzed the ended chats. */
const later = () => control("retell", "POST", "/clock", { advanceMs: 60_000 });

describe("Retell's deliveries", () => {
  it("before the answer to what caused them do no harm: create, goodbye, end", async () => {
    const world = await aWorld();
    await listen(world, { beforeAnswer: true });
    const [left, right] = [await aChat(world), await aChat(world)];
    const said = await send(world, left, "goodbye");
    expect([said.status, said.body.data.chat_status, said.body.data.messages.length]).toEqual([200, "ended", 1]);
    const ended = await call("end", at(world, right));
    expect([ended.status, ended.body.data.chat_status]).toEqual([200, "ended"]);
    await later();
    const told = await deliveries(world, 6);
    expect(told.map(({ status }: { status: number }) => status)).toEqual(Array(6).fill(200));

    const chat = await stored(world, left);
    expect([chat?.message_count, usersOf(chat)]).toEqual([3, ["goodbye"]]);
    for (const id of [left, right]) {
      expect(await stored(world, id)).toMatchObject({
        chat_status: "ended",
        chat_analysis: { chat_summary: expect.any(String) },
      });
    }
  });

  it("that the API has missed come again, and close the chat", async () => {
    const world = await aWorld();
    await listen(world, { signingKeys: ["not yet known here"], retryDelayMs: 30_000, events: ["chat_ended"] });
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    expect((await deliveries(world, 1))[0].status).toBe(401);
    expect((await stored(world, chatId))?.chat_status).toBe("ongoing");

    await listen(world, { retryDelayMs: 30_000, events: ["chat_ended"] });
    await control("retell", "POST", "/clock", { advanceMs: 30_000 });
    expect((await deliveries(world, 2))[1]).toMatchObject({ attempt: 2, status: 200 });
    expect((await stored(world, chatId))?.chat_status).toBe("ended");
  });

  it("late, twice and in any order leave the chat as those in order do", async () => {
    const world = await aWorld();
    const rates = { delay: 0.25, duplicate: 0.25, swap: 0.25 };
    await listen(world, { disorder: { seed: 7, rates, maxMs: 30_000 } });
    const ids = await Promise.all([...Array(6)].map(() => aChat(world)));
    for (const id of ids) {
      await send(world, id, "ping");
      await control("retell", "PATCH", `/chats/${id}`, { status: "ended" });
    }
    await later();
    await later();
    const analyses = () => Promise.all(ids.map(async (id) => (await stored(world, id))?.chat_analysis));
    await expect.poll(analyses).not.toContain(null);
    const told: Document[] = await deliveries(world, ids.length * 3);
    expect(new Set(told.map(({ event, chat_id }) => `${event} ${chat_id}`)).size).toBeLessThan(told.length); // twice
    for (const id of ids) {
      await sweepLater(world, id);
      const chat = await stored(world, id);
      expect(chat).toMatchObject({ chat_status: "ended", message_count: 3 });
      expect(chat?.internal.nextSweepAt).toBeUndefined();
    }
    const { body } = await call("list", { token: world.owner.token, subaccountId: world.subaccountId });
    expect(body.data.map((chat: { chat_status: string }) => chat.chat_status)).toEqual(Array(6).fill("ended"));
  });

  it("before an answer that is lost settle the send that nobody got an answer to", async () => {
    const world = await aWorld();
    await listen(world, { beforeAnswer: true, events: ["chat_ended"] });
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "drop", effect: "before" });
    const { status, body } = await send(world, chatId, "goodbye");
    expect([status, body.data?.chat_status]).toEqual([200, "ended"]);
    const chat = await stored(world, chatId);
    expect([chat?.message_count, usersOf(chat)]).toEqual([3, ["goodbye"]]);
    expect(chat?.internal.turn).toBeUndefined();
  });
});
