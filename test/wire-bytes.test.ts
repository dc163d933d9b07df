import { randomBytes } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { load } from "../dev/seed/load.ts";
import * as cache from "../lib/chat/cache.ts";
import { fromText } from "../lib/platform/compress.ts";
import { redis } from "../lib/platform/redis.ts";
import { aGateway } from "./support/gateway.ts";
import { aLog } from "./support/log.ts";
import { longTalk, shopTalk } from "./support/talk.ts";
import { aChat, aWorld, bytesOf, call, eventFor, type Request, type World } from "./support/world.ts";

const log = aLog("list");
const plainly = { headers: { "accept-encoding": "gzip;q=0" } };

const list = ({ owner, subaccountId }: World, more: Request = {}) =>
  call("list", { token: owner.token, subaccountId, ...more });
const read = ({ owner, subaccountId }: World, chatId: string, more: Request = {}) =>
  call("transcript", { token: owner.token, subaccountId, chatId, ...more });

/** A tenant with chats of realistic ids, times and lengths. */
async function filled(chats: number, messages: number) {
  const world = await aWorld();
  const { sampleChatIds } = await load(process.env.MONGODB_URL ?? "", { ...world, chats, messages, seed: 1 });
  return { world, chatId: sampleChatIds[0] ?? "" };
}

/** Ends a chat after this many messages, which repeat a real conversation, each with an id of its own. */
async function talk(world: World, chatId: string, count: number) {
  const place = { token: world.owner.token, subaccountId: world.subaccountId, chatId };
  for (const content of shopTalk) {
    await call("message", { ...place, body: { content } });
  }
  const { messages: said } = (await read(world, chatId)).body.data;
  const messages = longTalk(said, count);
  await world.db
    .collection("chats")
    .updateOne({ chat_id: chatId }, { $set: { chat_status: "ended", end_timestamp: 1, messages } });
}

/** Replaces a chat's messages by one text, and ends the chat. */
const say = ({ db }: World, chat_id: string, content: string[]) =>
  db.collection("chats").updateOne(
    { chat_id },
    {
      $set: {
        chat_status: "ended",
        transcript: "",
        messages: content.map((text, i) => ({ message_id: `m-${i}`, role: "agent", content: text })),
      },
    },
  );

describe("bytes on the wire", () => {
  it("a default list of 100 chats takes 8 kB at most, and as much from the cache", async () => {
    const { world } = await filled(120, 4);
    const [first, second] = [await list(world), await list(world)];
    expect([first.body.meta.count, first.body.meta.cached, second.body.meta.cached]).toEqual([100, false, true]);
    expect(second.body.data).toEqual(first.body.data);
    for (const { headers, wireBytes } of [first, second]) {
      expect(headers["content-encoding"]).toBe("gzip");
      expect(wireBytes).toBeLessThanOrEqual(8_000);
    }
  });

  it("a transcript of 1,000 messages of the shop's agent takes 40 kB at most, and as much from the cache", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await talk(world, chatId, 1_000);
    const [first, second] = [await read(world, chatId), await read(world, chatId)];
    expect([first.body.data.message_count, second.body.meta.cached]).toEqual([1_000, true]);
    expect(second.body.data).toEqual(first.body.data);
    for (const { wireBytes } of [first, second]) expect(wireBytes).toBeLessThanOrEqual(40_000);
  });

  it("a transcript of 1,000 messages of random words takes less than a third of its text, and than its half in Redis", async () => {
    const { world, chatId } = await filled(6, 1_000);
    const [first, second] = [await read(world, chatId), await read(world, chatId)];
    const plain = await read(world, chatId, plainly);
    expect([first.body.meta.cached, second.body.meta.cached]).toEqual([false, true]);
    for (const { wireBytes } of [first, second]) expect(wireBytes).toBeLessThan(plain.wireBytes / 3.5);
    const text = await redis.get(cache.chatKey(world.subaccountId, chatId).name);
    expect(text?.length).toBeLessThan(plain.wireBytes / 2);
  });
});

describe("compression", () => {
  it("is for whoever asks for it, from the cache and not", async () => {
    const { world } = await filled(20, 2);
    const before = await list(world, plainly);
    const after = await list(world, plainly);
    const packed = await list(world);
    expect([before, after, packed].map(({ headers }) => headers["content-encoding"])).toEqual([
      undefined,
      undefined,
      "gzip",
    ]);
    expect([before, after, packed].map(({ body }) => body.meta.cached)).toEqual([false, true, true]);
    for (const { body, headers } of [before, after, packed]) {
      expect(body.data).toEqual(before.body.data);
      expect(headers.vary).toBe("accept-encoding");
    }
  });

  it("leaves answers below 1 kB, and errors, as they are", async () => {
    const { world } = await filled(2, 2);
    const answers = [await list(world), await list(world), await read(world, "chat_of_nobody")];
    expect(answers.map(({ status, body }) => [status, body.meta.cached])).toEqual([
      [200, false],
      [200, true],
      [404, undefined],
    ]);
    for (const { headers } of answers)
      expect([headers["content-encoding"], headers.vary]).toEqual([undefined, "accept-encoding"]);
  });

  it("leaves text that does not shrink as it is: an answer stays below 5.5 MB as Lambda counts it", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await say(
      world,
      chatId,
      [...Array(60).keys()].map(() => randomBytes(75_000).toString("base64")),
    );
    const { headers, lambdaBytes, body } = await read(world, chatId);
    expect([headers["content-encoding"], body.meta.hasMore]).toEqual([undefined, true]);
    expect(lambdaBytes).toBeLessThan(5_510_000);
  });

  it("sends what is cached as it is stored, whatever it is", async () => {
    const { handler } = await import("../functions/list.ts");
    const world = await aWorld();
    const entry = cache.listKey(world.subaccountId);
    const head = `no JSON at all ${"漢".repeat(1_000)}`;
    await (await cache.read(entry, log)).fill(fromText(head));
    const event = eventFor("list", { token: world.owner.token, subaccountId: world.subaccountId });
    const context = { awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => 29_000 };
    const answer = await handler(event, context as never);
    const bytes = bytesOf(answer);
    const { bytes: deflated } = fromText(head).deflated();
    expect(bytes.subarray(10, 10 + deflated.length)).toEqual(deflated);
    expect(gunzipSync(bytes).toString()).toMatch(
      /^no JSON at all 漢{1000}"cached":true,"poll_after_ms":5000,"operationId":"[-0-9a-f]{36}","duration":"\d+ms","time":\d{13}}}$/,
    );
  });

  it("passes the gateway: fetch reads what curl --compressed and browsers read", async () => {
    const { world } = await filled(20, 2);
    const gateway = await aGateway();
    const path = `${gateway.url}/api/chats/${world.subaccountId}/list`;
    const headers = { authorization: `Bearer ${world.owner.token}`, origin: "https://app.example.com" };
    for (const cached of [false, true]) {
      const answer = await fetch(path, { headers });
      expect(answer.headers.get("content-encoding")).toBe("gzip");
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
      expect(await answer.json()).toMatchObject({ success: true, meta: { cached, count: 20 } });
    }
  });
});
