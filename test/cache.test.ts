import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import * as cache from "../lib/chat/cache.ts";
import { fromText } from "../lib/platform/compress.ts";
import { key, redis } from "../lib/platform/redis.ts";
import { aLog } from "./support/log.ts";

const log = aLog("list");
const anEntry = () => cache.listKey(crypto.randomUUID());

describe("the cache", () => {
  it("gives back the text that was put in", async () => {
    const entry = anEntry();
    const text = '{"data":[{"content":"漢 \\n \\" 👍"}],"meta":{"count":1,';
    await (await cache.read(entry, log)).fill(fromText(text));
    expect((await cache.read(entry, log)).hit?.text()).toBe(text);
  });

  it("keeps no value that a reader had before a write", async () => {
    const entry = anEntry();
    const reader = await cache.read(entry, log); // it goes to Mongo now, and is slow
    await cache.forget([entry], log); // meanwhile somebody writes
    await reader.fill(fromText("old"));
    expect((await cache.read(entry, log)).hit).toBeUndefined();

    await (await cache.read(entry, log)).fill(fromText("new"));
    expect((await cache.read(entry, log)).hit?.text()).toBe("new");
  });

  it("forgets for longer than any request lasts", async () => {
    const entry = anEntry();
    await cache.forget([entry], log);
    const ttl = await redis.eval<number>('return redis.call("TTL", KEYS[1])', [key("generation", entry.name)], []);
    expect(ttl).toBeGreaterThan(30);
  });

  it("holds nothing over 256 kB, as it is stored", async () => {
    const entry = anEntry();
    await (await cache.read(entry, log)).fill(fromText(randomBytes(200_000).toString("base64")));
    expect((await cache.read(entry, log)).hit).toBeUndefined();
    await (await cache.read(entry, log)).fill(fromText("x".repeat(2_000_000)));
    expect((await cache.read(entry, log)).hit?.length).toBe(2_000_000);
  });

  it("takes what it did not write for a miss", async () => {
    const entry = anEntry();
    await (await cache.read(entry, log)).fill(fromText('{"data":["something"]'));
    const entire = await redis.get(entry.name);
    const half = entire?.slice(0, 24);
    for (const garbage of [
      "",
      "nonsense",
      "[]\n[]",
      '{"count":1}\n[{"chat_id":"of an older form"}]',
      half,
      `AAAA${entire}`,
    ]) {
      await redis.set(entry.name, garbage ?? "", 60);
      expect((await cache.read(entry, log)).hit).toBeUndefined();
    }
  });

  it("has keys that no stage and no old server shares", () => {
    expect(cache.listKey("s").name).toBe("test:chat:list:s");
    expect(cache.chatKey("s", "c").name).toBe("test:chat:s:c");
  });
});
