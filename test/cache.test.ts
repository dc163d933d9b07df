import { describe, expect, it } from "vitest";
import * as cache from "../lib/chat/cache.ts";
import { CallLog } from "../lib/logger.ts";
import { redis } from "../lib/redis.ts";

const log = new CallLog();
const anEntry = () => cache.listEntry(crypto.randomUUID());

describe("the cache", () => {
  it("gives back the text that was put in", async () => {
    const entry = anEntry();
    const answer = { data: '[{"content":"漢 \\n \\" 👍"}]', meta: '{"count":1}' };
    await (await cache.read(entry, log)).fill(answer);
    expect((await cache.read(entry, log)).hit).toEqual(answer);
  });

  it("keeps no value that a reader had before a write", async () => {
    const entry = anEntry();
    const reader = await cache.read(entry, log); // it goes to Mongo now, and is slow
    await cache.forget([entry], log); // meanwhile somebody writes
    await reader.fill({ data: '"old"', meta: "{}" });
    expect((await cache.read(entry, log)).hit).toBeUndefined();

    await (await cache.read(entry, log)).fill({ data: '"new"', meta: "{}" });
    expect((await cache.read(entry, log)).hit?.data).toBe('"new"');
  });

  it("forgets for longer than any request lasts", async () => {
    const entry = anEntry();
    await cache.forget([entry], log);
    const ttl = await redis.eval<number>('return redis.call("TTL", KEYS[1])', [`${entry.name}:generation`], []);
    expect(ttl).toBeGreaterThan(30);
  });

  it("holds nothing over 256 kB", async () => {
    const entry = anEntry();
    await (await cache.read(entry, log)).fill({ data: `"${"x".repeat(262_144)}"`, meta: "{}" });
    expect((await cache.read(entry, log)).hit).toBeUndefined();
  });

  it("takes what it did not write for a miss", async () => {
    const entry = anEntry();
    for (const garbage of ["", "nonsense", "[]\n[]", '{"no":"second line"}']) {
      await redis.set(entry.name, garbage, 60);
      expect((await cache.read(entry, log)).hit).toBeUndefined();
    }
  });

  it("has keys that no stage and no old server shares", () => {
    expect(cache.listEntry("s").name).toBe("test:chat:list:s");
    expect(cache.chatEntry("s", "c").name).toBe("test:chat:s:c");
  });
});
