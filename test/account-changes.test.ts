import { ObjectId } from "mongodb";
import { describe, expect, it } from "vitest";
import { key, redis } from "../lib/platform/redis.ts";
import { send, stored } from "./support/chats.ts";
import { aChat, aWorld, central, fault } from "./support/world.ts";

const accounts = central.collection("retellaccounts");

describe("an account that is found changed when Retell refuses its key (401)", () => {
  it.each<[string, object, number, string]>([
    ["deactivated", { $set: { isActive: false } }, 400, "RETELL_ACCOUNT_INACTIVE"],
    ["with a key that does not decrypt", { $set: { apiKey: "v2.a.b.c.d" } }, 500, "API_KEY_DECRYPTION_ERROR"],
    ["with a key that is no text", { $set: { apiKey: 7 } }, 503, "RETELL_FETCH_FAILED"],
    ["without a key", { $unset: { apiKey: "" } }, 503, "RETELL_FETCH_FAILED"],
  ])("%s: the message has failed, and the chat is free at once", async (_how, change, status, code) => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const filter = { subaccountId: new ObjectId(world.subaccountId) };
    const account = await accounts.findOne(filter);
    await accounts.updateOne(filter, change);
    await fault(world, "completion", { kind: "status", status: 401 });
    const answer = await send(world, chatId, "lost");
    expect([answer.status, answer.body.code, answer.body.details]).toEqual([status, code, undefined]);

    const chat = await stored(world, chatId);
    expect(chat?.internal.turn).toBeUndefined();
    expect(chat?.messages.at(-1)).toMatchObject({ content: "lost", internal: { failed: true } });
    expect(chat?.message_count).toBe(1);

    await accounts.replaceOne(filter, { ...account });
    await redis.del(key("retell", world.subaccountId)); // as after five minutes
    expect((await send(world, chatId, "found")).status).toBe(200);
  });
});
