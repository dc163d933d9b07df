import { Ratelimit } from "@upstash/ratelimit";
import { afterAll, afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { anEmulator } from "./support/emulator.ts";

const { redis, control, stats, reset, stop } = await anEmulator();
afterAll(stop);

const { slidingWindow, fixedWindow, tokenBucket } = Ratelimit;
const MIDST = Date.UTC(2030, 0, 1, 12, 30); // of an hour: no window turns unless a test turns it
beforeEach(async () => {
  await reset();
  vi.useFakeTimers({ toFake: ["Date"], now: MIDST });
});
afterEach(() => void vi.useRealTimers());

const limits = [
  ["slidingWindow", slidingWindow(3, "1 h")],
  ["fixedWindow", fixedWindow(3, "1 h")],
  ["tokenBucket", tokenBucket(1, "1 h", 3)],
] as const;

test.each(limits)("%s lets as many through as it should, and no more", async (_, limiter) => {
  const limit = new Ratelimit({ redis, limiter, ephemeralCache: false, prefix: "limit" });
  expect(await limit.getRemaining("ann")).toMatchObject({ remaining: 3, limit: 3 });
  for (const remaining of [2, 1, 0]) expect(await limit.limit("ann")).toMatchObject({ success: true, remaining });
  expect(await limit.limit("ann")).toMatchObject({ success: false, remaining: 0, limit: 3 });
  vi.setSystemTime(MIDST + 3 * 3600_000);
  expect(await limit.limit("bob")).toMatchObject({ success: true, remaining: 2 });
  vi.setSystemTime(MIDST);
  await limit.resetUsedTokens("ann");
  expect(await limit.limit("ann")).toMatchObject({ success: true, remaining: 2 });
});

test("a script is sent only once", async () => {
  const limit = new Ratelimit({ redis, limiter: slidingWindow(3, "1 h"), ephemeralCache: false, prefix: "limit" });
  await redis.scriptFlush();
  await control("stats/reset");
  await limit.limit("ann");
  await limit.limit("ann");
  expect((await stats()).byCommand).toEqual({ EVALSHA: 2, EVAL: 1 });
});

test("nobody too many gets through at once", async () => {
  const limit = new Ratelimit({ redis, limiter: slidingWindow(5, "1 h"), ephemeralCache: false, prefix: "limit" });
  const answers = await Promise.all(Array.from({ length: 20 }, () => limit.limit("ann")));
  expect(answers.filter(({ success }) => success)).toHaveLength(5);
});

test("the IP deny list is fetched, kept and asked", async () => {
  const real = globalThis.fetch;
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) =>
    String(input).endsWith("/levels/8.txt") ? new Response("10.0.0.1\n10.0.0.2\n") : real(input, init),
  );
  onTestFinished(() => void vi.restoreAllMocks());
  const limiter = fixedWindow(100, "1 h");
  const limit = new Ratelimit({ redis, limiter, prefix: "limit", enableProtection: true, denyListThreshold: 8 });
  await redis.sadd("limit:denyList:all", "mallory");
  const first = await limit.limit("ann", { ip: "10.0.0.1" });
  expect(first).toMatchObject({ success: true });
  await first.pending;
  expect(await redis.smembers("limit:denyList:all")).toHaveLength(3);
  expect(await limit.limit("ann", { ip: "10.0.0.1" })).toMatchObject({ success: false, reason: "denyList" });
  expect(await limit.limit("mallory")).toMatchObject({ success: false, deniedValue: "mallory" });
});
