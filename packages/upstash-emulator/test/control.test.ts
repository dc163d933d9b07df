import { afterAll, beforeEach, expect, test } from "vitest";
import { anEmulator } from "./support/emulator.ts";

const { client, redis, send, control, stats, reset, stop } = await anEmulator();
beforeEach(reset);
afterAll(stop);

test("/_control counts requests and commands", async () => {
  await redis.set("a", 1);
  await redis.pipeline().get("a").get("a").exec();
  await expect(client({ token: "wrong" }).ping()).rejects.toThrow("WRONGPASS");
  expect(await stats()).toEqual({ requests: 3, commands: 3, byCommand: { SET: 1, GET: 2 } });
  await control("stats/reset");
  expect(await stats()).toEqual({ requests: 0, commands: 0, byCommand: {} });
});

test("/_control empties the data", async () => {
  await redis.set("a", 1);
  expect((await control("flush")).status).toBe(200);
  expect(await redis.dbsize()).toBe(0);
});

test("drop closes the next requests without an answer or effect", async () => {
  await control("fault", { kind: "drop", count: 2 });
  await expect(redis.set("a", 1)).rejects.toThrow("fetch failed");
  await expect(redis.set("a", 1)).rejects.toThrow("fetch failed");
  expect(await redis.get("a")).toBeNull();
  expect((await stats()).requests).toBe(3);
});

test("error500 and garbage answer without effect", async () => {
  await control("fault", { kind: "error500" });
  await expect(redis.set("a", 1)).rejects.toThrow("ERR internal error");
  expect((await send("/", ["PING"])).status).toBe(500);
  await control("fault", { kind: "garbage", count: 1 });
  await expect(redis.set("a", 1)).rejects.toThrow("Unable to parse response body");
  expect(await redis.get("a")).toBeNull();
});

test("slow answers late what was done at once", async () => {
  await control("fault", { kind: "slow", ms: 600_000, count: 1 });
  const gone = new AbortController();
  const late = send("/", ["SET", "a", 1], { signal: gone.signal });
  await expect.poll(() => redis.get("a")).toBe(1);
  gone.abort();
  await expect(late).rejects.toThrow("aborted");
  await control("fault", { kind: "slow", ms: 20, count: 1 });
  const start = performance.now();
  expect(await redis.get("a")).toBe(1);
  expect(performance.now() - start).toBeGreaterThan(15);
});

test("/_control refuses what it does not know, and says why", async () => {
  const wrong = [
    {},
    { kind: "odd" },
    { kind: "slow", ms: -1 },
    { kind: "drop", count: 0 },
    { kind: "none", x: 1 },
    "a",
  ];
  for (const fault of wrong) {
    const response = await control("fault", fault);
    expect([fault, response.status]).toEqual([fault, 400]);
    expect(await response.json()).toEqual({ error: expect.any(String) });
  }
  expect((await control("nothing")).status).toBe(404);
  expect(await redis.ping()).toBe("PONG");
});
