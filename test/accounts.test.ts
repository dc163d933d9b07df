import { createCipheriv, randomBytes, scryptSync } from "node:crypto";
import { ObjectId } from "mongodb";
import { sign } from "retell-sdk/lib/webhook_auth";
import { afterEach, describe, expect, it, vi } from "vitest";
import { encrypt } from "../lib/platform/crypto.ts";
import { key, redis } from "../lib/platform/redis.ts";
import { send, stored } from "./support/chats.ts";
import { logged } from "./support/instance.ts";
import { anInstance, aWire, type Instance, logOf, owned, verdict } from "./support/wire.ts";
import { aChat, aWorld, central, control, fault, type World } from "./support/world.ts";

const wire = await aWire();
const accounts = central.collection("retellaccounts");
const of = ({ subaccountId }: World) => ({ subaccountId: new ObjectId(subaccountId) });

afterEach(() => vi.useRealTimers());

const create = (instance: Instance, world: World) =>
  instance.call("create", { ...owned(world), body: { agentId: world.agentId } });

const event = '{"event":"chat_started","chat":{"chat_id":"chat_1","agent_id":"a","chat_status":"ongoing"}}';
const deliver = async (instance: Instance, { subaccountId }: World, key: string) => {
  const headers = { "x-retell-signature": await sign(event, key) };
  return (await instance.call("webhook", { subaccountId, body: event, headers })).status;
};

/** Encrypts as the old server does. */
function asOldServer(secret: string, salt = "retell-salt") {
  const iv = randomBytes(16);
  const key = scryptSync(process.env.ENCRYPTION_KEY ?? "", salt, 32);
  const cipher = createCipheriv("aes-256-cbc", key, iv);
  return {
    text: cipher.update(secret, "utf8", "hex") + cipher.final("hex"),
    fields: { encryptionIV: iv.toString("hex"), encryptionAuthTag: "cbc-mode" },
  };
}

describe("a Retell account", () => {
  it.each<[Record<string, unknown>, string[]]>([
    [{ accountName: null }, ["accountName"]],
    [{ accountName: 42 }, ["accountName"]],
    [{ accountName: { first: "x" } }, ["accountName"]],
    [{ accountName: undefined }, ["accountName"]],
    [{ encryptionIV: null }, ["encryptionIV"]],
    [{ encryptionIV: 7 }, ["encryptionIV"]],
    [{ encryptionIV: ["x"] }, ["encryptionIV"]],
    [{ webhookKeys: null }, ["webhookKeys"]],
    [{ webhookKeys: null, accountName: null, encryptionIV: null }, ["accountName", "encryptionIV", "webhookKeys"]],
    [{ webhookKeys: [], encryptionAuthTag: null, createdBy: 7, verificationStatus: null, __v: "x" }, []],
  ])("works with %j, and one warning names each field that is ignored", async (odd, fields) => {
    const world = await aWorld({ account: odd });
    const [instance, other] = [await anInstance(), await anInstance()];
    const answer = await create(instance, world);
    expect(verdict(answer)).toEqual([200, undefined]);
    const hasName = !("accountName" in odd);
    expect(answer.body.data.retellAccount.accountName).toBe(hasName ? "Test Retell" : "");
    expect(logOf(answer, "WARN").map(({ field }) => field)).toEqual(fields.map((name) => `retellaccounts.${name}`));
    expect(await deliver(instance, world, world.apiKey)).toBe(200);
    // The other instance finds it in Redis.
    expect(verdict(await create(other, world))).toEqual([200, undefined]);
  });

  it.each<[Record<string, unknown>]>([
    [{ webhookKeys: "a key" }],
    [{ webhookKeys: 7 }],
    [{ webhookKeys: true }],
    [{ webhookKeys: {} }],
    [{ webhookKeys: [7] }],
    [{ webhookKeys: [null] }],
    [{ webhookKeys: [""] }],
    [{ apiKey: null }],
    [{ apiKey: 7 }],
    [{ apiKey: "" }],
  ])("is refused with %j: no webhook is taken by its API key", async (odd) => {
    const world = await aWorld({ account: odd });
    const instance = await anInstance();
    expect(verdict(await create(instance, world))).toEqual([503, "RETELL_FETCH_FAILED"]);
    expect(await deliver(instance, world, world.apiKey)).not.toBe(200);
  });

  it.each([[{ isActive: null }], [{ isActive: "true" }], [{ isActive: 1 }]])("is inactive with %j", async (odd) => {
    const answer = await create(await anInstance(), await aWorld({ account: odd }));
    expect(verdict(answer)).toEqual([400, "RETELL_ACCOUNT_INACTIVE"]);
  });
});

describe("white space around a stored secret", () => {
  const around = [
    (text: string) => `${text}\n`,
    (text: string) => `\t${text} \r\n`,
    (text: string) => `\uFEFF${text}`,
    (text: string) => `${text}\u00A0\u2028`,
    (text: string) => `\u200B${text}\u200E\0`,
  ];

  it.each(around.map((pad) => [JSON.stringify(pad("key")), pad] as const))(
    "is no part of an API key or a webhook key: %s",
    async (_, pad) => {
      for (const isOld of [false, true]) {
        const world = await aWorld();
        const old = asOldServer(pad(world.apiKey));
        const sealed = { apiKey: await encrypt(pad(world.apiKey), world.subaccountId) };
        await accounts.updateOne(of(world), { $set: isOld ? { apiKey: old.text, ...old.fields } : sealed });
        const instance = await anInstance();
        const answer = await create(instance, world);
        expect([isOld, ...verdict(answer)]).toEqual([isOld, 200, undefined]);
        expect((await control("retell", "GET", `/chats/${answer.body.data.chat_id}`)).key).toBe(world.apiKey);
        expect(await deliver(instance, world, world.apiKey)).toBe(200);

        const webhookKeys = [await encrypt(pad("hook"), world.subaccountId)];
        await accounts.updateOne(of(world), { $set: { webhookKeys } });
        expect(await deliver(await anInstance(), world, "hook")).toBe(200);
      }
    },
  );

  it.each(around.map((pad) => [JSON.stringify(pad("url")), pad] as const))(
    "is no part of a connection string: %s",
    async (_, pad) => {
      for (const isOld of [false, true]) {
        const world = await aWorld();
        const old = asOldServer(pad(process.env.MONGODB_URL ?? ""), "subaccount-salt");
        const mongodbUrl = await encrypt(pad(process.env.MONGODB_URL ?? ""), world.subaccountId);
        await central
          .collection("subaccounts")
          .updateOne(
            { _id: new ObjectId(world.subaccountId) },
            { $set: isOld ? { mongodbUrl: old.text, ...old.fields } : { mongodbUrl } },
          );
        expect(verdict(await (await anInstance()).call("list", owned(world)))).toEqual([200, undefined]);
      }
    },
  );

  it("does not make a secret: an account whose key is blank is not opened, nor one whose webhook key is", async () => {
    for (const blank of ["", " \n"]) {
      const world = await aWorld();
      await accounts.updateOne(of(world), { $set: { webhookKeys: [await encrypt(blank, world.subaccountId)] } });
      expect(await deliver(await anInstance(), world, "x")).toBe(401);
      await wire.flush();
      await accounts.updateOne(of(world), { $set: { apiKey: await encrypt(blank, world.subaccountId) } });
      expect(verdict(await create(await anInstance(), world))).toEqual([500, "API_KEY_DECRYPTION_ERROR"]);
    }
  });
});

describe("LEGACY_KEYS=refuse", () => {
  it("does not open what the old server encrypted, and opens our own form", async () => {
    const [world, own] = [await aWorld(), await aWorld()];
    const old = asOldServer(world.apiKey);
    await accounts.updateOne(of(world), { $set: { apiKey: old.text, ...old.fields } });
    expect(verdict(await create(await anInstance(), world))).toEqual([200, undefined]);
    await wire.flush();
    const instance = await anInstance({ LEGACY_KEYS: "refuse" });
    expect(verdict(await create(instance, world))).toEqual([500, "API_KEY_DECRYPTION_ERROR"]);
    expect(verdict(await create(instance, own))).toEqual([200, undefined]);
  });
});

describe("what is cached of an account", () => {
  it("stands in Redis encrypted", async () => {
    const world = await aWorld();
    await accounts.updateOne(of(world), { $set: { webhookKeys: [await encrypt("hook_canary", world.subaccountId)] } });
    await create(await anInstance(), world);
    await wire.quiet();
    const text = String(await wire.redis("GET", key("retell", world.subaccountId)));
    expect(JSON.parse(text)).toMatchObject({ apiKey: { text: expect.stringMatching(/^v2\./) } });
    expect(text).not.toMatch(new RegExp(`hook_canary|${world.apiKey}`));
  });
});

describe("an account that was deactivated or changed", () => {
  it("counts no longer five minutes after it was read in Mongo, wherever it was cached since", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    const world = await aWorld();
    const [reader, late] = [await anInstance(), await anInstance()];
    expect(verdict(await create(reader, world))).toEqual([200, undefined]);
    await accounts.updateOne(of(world), { $set: { isActive: false } });

    // The second instance reads the account from Redis just before it expires there.
    vi.setSystemTime(Date.now() + 299_000);
    expect(verdict(await create(late, world))).toEqual([200, undefined]);
    vi.setSystemTime(Date.now() + 1_000);
    for (const instance of [reader, late]) {
      expect(verdict(await create(instance, world))).toEqual([400, "RETELL_ACCOUNT_INACTIVE"]);
    }
  });
});

describe("the address of a tenant's own cluster", () => {
  it.each([
    "mongodb://cluster-canary.invalid:27017/x",
    "mongodb://one-canary.invalid,two-canary.invalid/x?replicaSet=canary",
    "mongodb+srv://cluster-canary.invalid/x",
    "mongodb://canary.localhost:9/x",
    "mongodb://user:pass@cluster-canary:port/x",
  ])("stands in no log line and no answer: %s", async (url) => {
    const world = await aWorld();
    const mongodbUrl = await encrypt(url, world.subaccountId);
    const filter = { _id: new ObjectId(world.subaccountId) };
    await central.collection("subaccounts").updateOne(filter, { $set: { mongodbUrl } });
    const before = logged.length;
    const answer = await (await anInstance()).call("list", owned(world));
    expect(answer.status).toBe(503);
    expect(logOf(answer, "ERROR")).toHaveLength(1);
    expect(logged.slice(before).join("\n")).not.toMatch(/canary/);
    expect(JSON.stringify([answer.headers, answer.body])).not.toMatch(/canary/);
  });
});

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
    const details = { user_message: { message_id: expect.any(String), seq: 2 } };
    expect([answer.status, answer.body.code, answer.body.details]).toEqual([status, code, details]);

    const chat = await stored(world, chatId);
    expect(chat?.internal.turn).toBeUndefined();
    expect(chat?.messages.at(-1)).toMatchObject({ content: "lost", internal: { failed: true } });
    expect(chat?.message_count).toBe(1);

    await accounts.replaceOne(filter, { ...account });
    await redis.del(key("retell", world.subaccountId)); // as after five minutes
    expect((await send(world, chatId, "found")).status).toBe(200);
  });
});
