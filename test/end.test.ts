import { ObjectId } from "mongodb";
import { describe, expect, it } from "vitest";
import { encrypt } from "../lib/platform/crypto.ts";
import { forgetAccount } from "../lib/retell/account.ts";
import { aLog } from "./support/log.ts";
import { anInstance, type Instance } from "./support/wire.ts";
import { aChat, aWorld, call, central, control, fault, type World } from "./support/world.ts";

const world = await aWorld();

const end = (chatId: string, where: World = world, more: object = {}) =>
  call("end", { token: where.owner.token, subaccountId: where.subaccountId, chatId, ...more });
const send = (chatId: string, content: string, where: World = world) =>
  call("message", { token: where.owner.token, subaccountId: where.subaccountId, chatId, body: { content } });
const stored = (chatId: string, where: World = world) => where.db.collection("chats").findOne({ chat_id: chatId });

describe("end", () => {
  it("ends the chat at Retell and stores how it finished", async () => {
    const chatId = await aChat(world);
    await send(chatId, "ping");
    const { status, body } = await end(chatId);
    expect(status).toBe(200);
    expect(body.data).toMatchObject({ chat_id: chatId, chat_status: "ended", end_timestamp: expect.any(Number) });

    const chat = await stored(chatId);
    expect(chat).toMatchObject({ chat_status: "ended", end_timestamp: body.data.end_timestamp, message_count: 3 });
    expect(chat?.transcript).toMatch(/^Agent: .*\nUser: ping\nAgent: /);
    expect(chat?.endedAt).toBeInstanceOf(Date);
    expect((await control("retell", "GET", `/chats/${chatId}`)).status).toBe("ended");
  });

  it("a second end returns the first end's time, and asks nothing of Retell", async () => {
    const chatId = await aChat(world);
    const first = await end(chatId);
    const second = await end(chatId);
    expect(second.status).toBe(200);
    expect(second.body.data).toEqual(first.body.data);
    expect((await control("retell", "GET", `/requests?step=end&chat_id=${chatId}`)).requests).toHaveLength(1);
  });

  it("ignores a body", async () => {
    const chatId = await aChat(world);
    expect((await end(chatId, world, { body: "{not even json" })).status).toBe(200);
  });

  it("takes an Idempotency-Key, which it does not need", async () => {
    const chatId = await aChat(world);
    const headers = { "idempotency-key": "k1" };
    const [first, second] = [await end(chatId, world, { headers }), await end(chatId, world, { headers })];
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.body.data).toEqual(first.body.data);
  });

  it("is a success for a chat that Retell has ended already", async () => {
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    expect((await end(chatId)).body.data.chat_status).toBe("ended");
  });

  it("keeps the status error", async () => {
    const chatId = await aChat(world);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "error" });
    expect((await end(chatId)).body.data.chat_status).toBe("error");
    expect((await send(chatId, "hello?")).body.code).toBe("CHAT_ENDED");
  });

  it("waits for a turn that is running: 409 CHAT_BUSY", async () => {
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "latency", ms: 300, chat_id: chatId });
    const sending = send(chatId, "ping");
    await control("retell", "GET", `/requests?step=completion&chat_id=${chatId}&atLeast=1`);
    const refused = await end(chatId);
    expect([refused.status, refused.body.code]).toEqual([409, "CHAT_BUSY"]);
    expect((await sending).status).toBe(200);
    expect((await end(chatId)).status).toBe(200);
  });

  it("answers with our clock when the read that follows fails", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "retrieve", { kind: "status", status: 503 });
    const { status, body } = await end(chatId, tenant);
    expect([status, body.data.chat_status]).toEqual([200, "ended"]);
    expect(body.data.end_timestamp).toBeGreaterThan(Date.now() - 60_000);
    expect((await stored(chatId, tenant))?.internal.nextSweepAt).toBeInstanceOf(Date); // the rest is fetched later
  });

  it("decides an open turn by Retell's last word", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "completion", { kind: "drop" });
    expect((await send(chatId, "never arrived", tenant)).status).toBe(504);
    expect((await end(chatId, tenant)).status).toBe(200);
    const chat = await stored(chatId, tenant);
    expect(chat?.internal.turn).toBeUndefined();
    expect(chat?.messages.at(-1)).toMatchObject({ content: "never arrived", internal: { failed: true } });
  });

  it.each([401, 403, 429, 500])("503 CHAT_END_FAILED when Retell answers %i and the chat goes on", async (status) => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "end", { kind: "status", status });
    const answer = await end(chatId, tenant);
    expect([answer.status, answer.body.code]).toEqual([503, "CHAT_END_FAILED"]);
    expect((await stored(chatId, tenant))?.chat_status).toBe("ongoing");
  });

  it("is a success when the answer was lost but the chat has ended", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "end", { kind: "drop", effect: "before" });
    expect((await end(chatId, tenant)).body.data?.chat_status).toBe("ended");
  });

  describe("with a key of another workspace, where Retell knows no such chat", () => {
    /** Another key stands in the account, as if somebody had pasted the wrong one. */
    const useKey = async (where: World, apiKey: string) => {
      const filter = { subaccountId: new ObjectId(where.subaccountId) };
      const sealed = await encrypt(apiKey, where.subaccountId);
      await central.collection("retellaccounts").updateOne(filter, { $set: { apiKey: sealed } });
      await forgetAccount(where.subaccountId); // as if the five minutes of the cache were over
    };
    const sweepLater = async (instance: Instance, where: World, chatId: string) => {
      const due = { "internal.nextSweepAt": new Date(Date.now() - 1) };
      await where.db.collection("chats").updateOne({ chat_id: chatId }, { $set: due });
      await instance.sweep({ until: Date.now() + 60_000, perSubaccount: 10 }, aLog("sweep"));
    };
    const atRetell = async (chatId: string) => (await control("retell", "GET", `/chats/${chatId}`)).status;

    async function aFailedEnd() {
      const tenant = await aWorld();
      const chatId = await aChat(tenant);
      await send(chatId, "ping", tenant);
      await useKey(tenant, "key_of_another_workspace");
      const wrong = await anInstance();
      const request = { token: tenant.owner.token, subaccountId: tenant.subaccountId, chatId };
      const { status, body } = await wrong.call("end", request);
      expect([status, body.code]).toEqual([503, "CHAT_END_FAILED"]);
      expect([(await stored(chatId, tenant))?.chat_status, await atRetell(chatId)]).toEqual(["ongoing", "ongoing"]);
      return { tenant, chatId, wrong };
    }

    it("is 503 CHAT_END_FAILED, and the sweep ends the chat once the key is right", async () => {
      const { tenant, chatId, wrong } = await aFailedEnd();
      await sweepLater(wrong, tenant, chatId);
      const chat = await stored(chatId, tenant);
      expect(chat?.chat_status).toBe("ongoing");
      expect((chat?.internal.nextSweepAt - Date.now()) / 60_000).toBeCloseTo(5, 0);

      await useKey(tenant, tenant.apiKey);
      await sweepLater(await anInstance(), tenant, chatId);
      expect([(await stored(chatId, tenant))?.chat_status, await atRetell(chatId)]).toEqual(["ended", "ended"]);
    });

    it("is not tried again where the user has spoken since", async () => {
      const { tenant, chatId } = await aFailedEnd();
      await useKey(tenant, tenant.apiKey);
      const right = await anInstance();
      const request = { token: tenant.owner.token, subaccountId: tenant.subaccountId, chatId };
      expect((await right.call("message", { ...request, body: { content: "still here" } })).status).toBe(200);
      await sweepLater(right, tenant, chatId);
      expect([(await stored(chatId, tenant))?.chat_status, await atRetell(chatId)]).toEqual(["ongoing", "ongoing"]);
    });
  });

  it("cannot end another tenant's chat: 404", async () => {
    const other = await aWorld();
    const chatId = await aChat(other);
    const { status, body } = await end(chatId);
    expect([status, body.code]).toEqual([404, "CHAT_NOT_FOUND"]);
    expect((await stored(chatId, other))?.chat_status).toBe("ongoing");
  });
});
