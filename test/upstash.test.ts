import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis, type RedisConfigNodejs } from "@upstash/redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { findRedisServer } from "../packages/upstash-emulator/src/server.ts";
import { startUpstash, type Upstash, type UpstashOptions } from "../packages/upstash-emulator/src/upstash.ts";

const PROGRAM = fileURLToPath(new URL("../packages/upstash-emulator/src/upstash.ts", import.meta.url));
const LIMIT = 10 * 1024 * 1024;

const serverBinary = findRedisServer();
if (!serverBinary) console.warn("There is no redis-server or valkey-server on PATH: only the mock is tested.");

const backends = [{ backend: "server", skip: !serverBinary } as const, { backend: "mock", skip: false } as const];

describe.each(backends)("the emulator on its $backend back end", ({ backend, skip }) => {
  describe.skipIf(skip)("speaks Upstash's REST API:", () => contract({ backend }));
});

function contract(options: UpstashOptions) {
  let upstash: Upstash;
  let redis: Redis;

  beforeAll(async () => {
    upstash = await startUpstash({ ...options, token: "secret" });
    redis = client();
  });
  afterAll(() => upstash?.stop());
  beforeEach(async () => {
    await control("fault", { kind: "none" });
    await control("flush");
    await control("stats/reset");
  });

  const client = (config: Partial<RedisConfigNodejs> = {}) =>
    new Redis({ url: upstash.url, token: upstash.token, retry: { retries: 0 }, enableTelemetry: false, ...config });

  function send(path: string, body?: unknown, init: RequestInit = {}): Promise<Response> {
    const headers = { authorization: `Bearer ${upstash.token}`, ...init.headers };
    const content = typeof body === "string" || body === undefined ? body : JSON.stringify(body);
    return fetch(upstash.url + path, { method: "POST", ...init, headers, body: content ?? null });
  }

  async function ask(path: string, body?: unknown, init: RequestInit = {}) {
    const response = await send(path, body, init);
    return { status: response.status, body: (await response.json()) as { result?: unknown; error?: string } };
  }

  const run = (...command: unknown[]) => ask("/", command);

  function control(path: string, body?: unknown): Promise<Response> {
    return fetch(`${upstash.url}/_control/${path}`, { method: "POST", body: JSON.stringify(body) ?? null });
  }

  const stats = () => statsOf(upstash);

  const result = (value: unknown) => ({ status: 200, body: { result: value } });
  const refused = (error: unknown) => ({ status: 400, body: { error } });

  describe("a request", () => {
    test("without the token, or with another one, is refused with 401", async () => {
      const wrong = [{}, { authorization: "Bearer wrong" }, { authorization: "Bearer" }, { authorization: "secret" }];
      for (const headers of wrong) {
        const response = await fetch(upstash.url, { method: "POST", headers, body: '["PING"]' });
        expect(response.status).toBe(401);
        expect(await response.json()).toEqual({ error: "WRONGPASS invalid or missing auth token" });
      }
      await expect(client({ token: "wrong" }).ping()).rejects.toThrow("WRONGPASS");
    });

    test("may carry the token in the query", async () => {
      const response = await fetch(`${upstash.url}/echo/hi?_token=secret`);
      expect(await response.json()).toEqual({ result: "hi" });
    });

    test("with another method is refused with 405", async () => {
      expect((await send("/", ["PING"], { method: "DELETE" })).status).toBe(405);
    });

    test.each([
      ["nothing", undefined, "ERR empty command"],
      ["no JSON", "SET a b", /^ERR failed to parse command/],
      ["half of a JSON", '["SET", "a"', /^ERR failed to parse command/],
      ["an object", { SET: "a" }, /expected JSON array/],
      ["a string", '"PING"', /expected JSON array/],
      ["null", "null", /expected JSON array/],
      ["an empty array", [], "ERR empty command"],
      ["an empty name", [""], "ERR empty command"],
      ["null as an argument", ["SET", "a", null], "ERR null args are not supported"],
      ["an array as an argument", ["SET", "a", ["b"]], 'ERR unsupported arg type: "[": json.Delim'],
      ["an object as an argument", ["SET", "a", { b: 1 }], 'ERR unsupported arg type: "{": json.Delim'],
      ["a pipeline at the wrong path", [["PING"]], 'ERR unsupported arg type: "[": json.Delim'],
    ])("with %s is refused with 400", async (_, body: unknown, error) => {
      const answer = refused(typeof error === "string" ? error : expect.stringMatching(error));
      expect(await ask("/", body)).toEqual(answer);
    });

    test.each([
      ["no JSON", "GET a", /^ERR failed to parse command/],
      ["one command", ["SET", "a", "1"], /expected JSON array/],
      ["no command", [], /^ERR empty command/],
      ["an empty command", [["SET", "a", "1"], []], /^ERR empty command/],
      [
        "null as an argument",
        [
          ["SET", "a", "1"],
          ["GET", null],
        ],
        /^ERR null args are not supported/,
      ],
    ])("for several commands with %s is refused whole", async (_, body, error) => {
      expect(await ask("/pipeline", body)).toEqual(refused(expect.stringMatching(error)));
      expect(await ask("/multi-exec", body)).toEqual(refused(expect.stringMatching(error)));
      expect(await run("EXISTS", "a")).toEqual(result(0));
    });

    test("takes numbers and booleans as arguments", async () => {
      expect(await run("SET", "number", 1.5)).toEqual(result("OK"));
      expect(await run("SET", "flag", true)).toEqual(result("OK"));
      expect(await run("MGET", "number", "flag")).toEqual(result(["1.5", "true"]));
    });

    test(`of more than ${LIMIT} bytes is refused with 413, one of as many is not`, async () => {
      const wrap = '["STRLEN",""]'.length;
      const fits = JSON.stringify(["STRLEN", "x".repeat(LIMIT - wrap)]);
      expect(await ask("/", fits)).toEqual(result(0));
      expect(await ask("/", `${fits} `)).toEqual({
        status: 413,
        body: { error: `ERR max request size exceeded. Limit: ${LIMIT} bytes, Actual: ${LIMIT + 1} bytes` },
      });
      await expect(redis.set("big", "x".repeat(LIMIT))).rejects.toThrow("ERR max request size exceeded");
    });

    test("may have its command in the path, the rest in the body and the query", async () => {
      expect(await ask("/set/foo/b%2Fr%20%C3%BC", undefined, { method: "GET" })).toEqual(result("OK"));
      expect(await ask("/GET/foo", undefined, { method: "GET" })).toEqual(result("b/r ü"));
      expect(await ask("/set/bar?EX=100", '{"a":1}', { method: "PUT" })).toEqual(result("OK"));
      expect(await ask("/get/bar")).toEqual(result('{"a":1}'));
      expect((await ask("/ttl/bar")).body.result).toBeGreaterThan(90);
      expect(await ask("/get/%E0%A4%A", undefined, { method: "GET" })).toEqual(refused(expect.stringMatching(/path/)));
    });
  });

  describe("an answer", () => {
    test("keeps nil, integers, strings and nested arrays apart", async () => {
      expect(await run("GET", "none")).toEqual(result(null));
      expect(await run("INCRBY", "n", 41)).toEqual(result(41));
      expect(await run("GET", "n")).toEqual(result("41"));
      expect(await run("MGET", "n", "none")).toEqual(result(["41", null]));
      expect(await run("EVAL", 'return {1, {2, {"three", "OK"}}, 3.9, -3.9, true, false}', 0)).toEqual(
        result([1, [2, ["three", "OK"]], 3, -3, 1, null]),
      );
      expect(await run("HGETALL", "none")).toEqual(result([]));
      expect(await run("SCAN", 0)).toEqual(result(["0", ["n"]]));
    });

    test("has every string in base64 when asked for, except a lone OK", async () => {
      const encoded = { headers: { "upstash-encoding": "base64" } };
      const list = [
        ["SET", "a", "ü"],
        ["GET", "a"],
        ["GET", "none"],
        ["STRLEN", "a"],
        ["SET", "b", "OK"],
        ["GET", "b"],
        ["MGET", "a", "b", "none"],
        ["INCR", "a"],
      ];
      const { body } = await ask("/pipeline", list, encoded);
      const results = ["OK", "w7w=", null, 2, "OK", "OK", ["w7w=", "T0s=", null]].map((result) => ({ result }));
      expect(body).toEqual([...results, { error: "ERR value is not an integer or out of range" }]);
    });

    test.each([
      ["base64", undefined],
      ["plain", false],
    ] as const)("is understood by the SDK with %s responses", async (_, responseEncoding) => {
      const config = responseEncoding === undefined ? {} : { responseEncoding };
      const plain = client({ automaticDeserialization: false, ...config });
      const json = client(config);
      const value = { text: 'ü "quoted"\n', list: [1, null] };

      expect(await json.set("object", value)).toBe("OK");
      expect(await json.get("object")).toEqual(value);
      expect(await plain.get("object")).toBe(JSON.stringify(value));
      for (const word of ["OK", "", "null", "T0s=", "42", "😀"]) {
        await plain.set("word", word);
        expect(await plain.get("word")).toBe(word);
        expect(await plain.mget("word", "none")).toEqual([word, null]);
      }
      expect(await json.hset("hash", { a: 1, b: "x" })).toBe(2);
      expect(await json.hgetall("hash")).toEqual({ a: 1, b: "x" });
      expect(await json.hgetall("none")).toBeNull();
      expect(await json.hmget("hash", "a", "none")).toEqual({ a: 1, none: null });
    });

    test("to a command that fails is 400 with Redis's words", async () => {
      await run("LPUSH", "list", "a");
      await run("SET", "text", "a");
      const wrongType = refused("WRONGTYPE Operation against a key holding the wrong kind of value");
      expect(await run("GET", "list")).toEqual(wrongType);
      expect(await run("INCR", "list")).toEqual(wrongType);
      expect(await run("HGET", "text", "a")).toEqual(wrongType);
      expect(await run("SADD", "text", "a")).toEqual(wrongType);
      expect(await run("INCR", "text")).toEqual(refused("ERR value is not an integer or out of range"));
      expect(await run("EXPIRE", "text", "soon")).toEqual(refused("ERR value is not an integer or out of range"));
      expect(await run("GET")).toEqual(refused("ERR wrong number of arguments for 'get' command"));
      expect(await run("GET", "a", "b")).toEqual(refused("ERR wrong number of arguments for 'get' command"));
      expect(await run("SET", "text", "b", "PX", 0)).toEqual(refused("ERR invalid expire time in 'set' command"));
      expect(await run("SET", "text", "b", "NX", "XX")).toEqual(refused("ERR syntax error"));
      await expect(redis.incr("text")).rejects.toThrow("ERR value is not an integer");
    });

    test.each(["NOSUCH", "constructor", "disconnect", "definecommand", "SHUTDOWN", "CONFIG", "DEBUG"])(
      "to %s is that it is not available",
      async (name) => {
        const command = name.toUpperCase();
        const error = expect.stringMatching(`^ERR Command is not available: '${command}'`);
        expect(await run(name, "GET", "x")).toEqual(refused(error));
        expect(await ask("/pipeline", [[name], ["PING"]])).toEqual({
          status: 200,
          body: [{ error }, { result: "PONG" }],
        });
        expect(await ask("/multi-exec", [["SET", "a", "1"], [name]])).toEqual(refused(error));
        expect(await run("EXISTS", "a")).toEqual(result(0));
      },
    );

    test.each([
      ["SUBSCRIBE", "x"],
      ["BLPOP", "x", 0],
      ["XREAD", "BLOCK", 0, "STREAMS", "x", "$"],
      ["MULTI"],
      ["WATCH", "x"],
      ["SELECT", 1],
      ["QUIT"],
    ])("to %s is that it is not allowed over REST", async (...command) => {
      const error = `ERR Command "${command[0]}" is not allowed in REST or it has a special context path`;
      expect(await run(...command)).toEqual(refused(error));
      expect(await ask("/multi-exec", [command])).toEqual(refused(error));
      expect(await ask(`/${command.join("/").toLowerCase()}`)).toEqual(refused(error));
    });
  });

  describe("SET", () => {
    const ttl = async (key: string) => Number((await run("PTTL", key)).body.result);

    test("expires by EX, PX, EXAT and PXAT, in either case", async () => {
      await redis.set("ex", 1, { ex: 100 });
      await redis.set("px", 1, { px: 100_000 });
      await redis.set("exat", 1, { exat: Math.floor(Date.now() / 1000) + 100 });
      await redis.set("pxat", 1, { pxat: Date.now() + 100_000 });
      await run("SET", "upper", 1, "PX", 100_000);
      for (const key of ["ex", "px", "exat", "pxat", "upper"]) {
        expect(await ttl(key)).toBeGreaterThan(90_000);
        expect(await ttl(key)).toBeLessThanOrEqual(100_000);
      }
      await redis.set("px", 2);
      expect(await ttl("px")).toBe(-1);
      await redis.set("soon", 1, { px: 5 });
      await expect.poll(() => redis.get("soon")).toBeNull();
      expect(await redis.exists("soon")).toBe(0);
      expect(await ttl("soon")).toBe(-2);
    });

    test("keeps to NX, XX, GET and KEEPTTL", async () => {
      expect(await redis.set("a", "1", { xx: true })).toBeNull();
      expect(await redis.set("a", "1", { nx: true, px: 100_000 })).toBe("OK");
      expect(await redis.set("a", "2", { nx: true })).toBeNull();
      expect(await redis.set("a", "3", { get: true, keepTtl: true })).toBe(1);
      expect(await ttl("a")).toBeGreaterThan(90_000);
      expect(await run("SET", "a", "4", "get", "ex", 50)).toEqual(result("3"));
      expect(await ttl("a")).toBeLessThanOrEqual(50_000);
      expect(await redis.set("a", "5", { xx: true })).toBe("OK");
      expect(await redis.get("a")).toBe(5);
    });
  });

  test("the commands of caches, counters and sets work through the SDK", async () => {
    expect(await redis.mset({ a: 1, b: 2 })).toBe("OK");
    expect(await redis.incrby("a", 5)).toBe(6);
    expect(await redis.decr("a")).toBe(5);
    expect(await redis.setex("c", 100, "x")).toBe("OK");
    expect(await redis.expire("b", 100)).toBe(1);
    expect(await redis.ttl("b")).toBe(100);
    expect(await redis.persist("b")).toBe(1);
    expect(await redis.getdel("b")).toBe(2);
    expect(await redis.type("a")).toBe("string");
    expect(await redis.exists("a", "b", "c")).toBe(2);
    expect(await redis.hincrby("h", "n", 2)).toBe(2);
    expect(await redis.rpush("l", "x", "y")).toBe(2);
    expect(await redis.lrange("l", 0, -1)).toEqual(["x", "y"]);
    expect(await redis.sadd("s", "x", "y")).toBe(2);
    expect((await redis.smembers("s")).sort()).toEqual(["x", "y"]);
    expect(await redis.zadd("z", { nx: true }, { score: 2, member: "b" }, { score: 1, member: "a" })).toBe(2);
    expect(await redis.zadd("z", { nx: true }, { score: 9, member: "b" })).toBe(0);
    expect(await redis.zrange("z", 0, -1, { withScores: true })).toEqual(["a", 1, "b", 2]);
    expect(await redis.dbsize()).toBe(6);
    expect(await redis.unlink("a", "c")).toBe(2);
    expect(await redis.echo("hi")).toBe("hi");
    const [seconds] = await redis.time();
    expect(Math.abs(Number(seconds) - Date.now() / 1000)).toBeLessThan(60);
    expect(await redis.flushdb()).toBe("OK");
    expect(await redis.dbsize()).toBe(0);
  });

  test("SCAN finds every key by pattern and type, whatever is deleted meanwhile", async () => {
    const keys = Array.from({ length: 100 }, (_, i) => `user:${i}`);
    await redis.mset({ ...Object.fromEntries(keys.map((key) => [key, 1])), other: 1 });
    await redis.sadd("user:set", 1);
    const seen: string[] = [];
    let cursor = "0";
    do {
      const [next, found] = await redis.scan(cursor, { match: "user:*", count: 10, type: "string" });
      if (found.length > 0) await redis.del(...found);
      seen.push(...found);
      cursor = next;
    } while (cursor !== "0");
    expect(new Set(seen)).toEqual(new Set(keys));
    expect(await redis.dbsize()).toBe(2);
  });

  describe("a pipeline", () => {
    test("answers each command in its place, in order", async () => {
      const commands = [["SET", "a", "x"], ["INCR", "a"], ["NOSUCH"], ["APPEND", "a", "y"], ["GET", "a"]];
      expect(await ask("/pipeline", commands)).toEqual({
        status: 200,
        body: [
          { result: "OK" },
          { error: "ERR value is not an integer or out of range" },
          { error: expect.stringMatching(/^ERR Command is not available/) },
          { result: 2 },
          { result: "xy" },
        ],
      });
    });

    test("is what the SDK makes of commands of one tick", async () => {
      const automatic = client({ enableAutoPipelining: true });
      await redis.mset({ a: 1, b: 2 });
      await control("stats/reset");
      expect(await Promise.all([automatic.get("a"), automatic.get("b"), automatic.get("c")])).toEqual([1, 2, null]);
      expect(await stats()).toEqual({ requests: 1, commands: 3, byCommand: { GET: 3 } });
    });
  });

  describe("a transaction", () => {
    test("answers each command, and goes on after one that fails", async () => {
      const commands = [
        ["SET", "a", "x"],
        ["INCR", "a"],
        ["EVALSHA", "0".repeat(40), 0],
        ["APPEND", "a", "y"],
      ];
      expect(await ask("/multi-exec", commands)).toEqual({
        status: 200,
        body: [
          { result: "OK" },
          { error: "ERR value is not an integer or out of range" },
          { error: "NOSCRIPT No matching script. Please use EVAL." },
          { result: 2 },
        ],
      });
      expect(await redis.multi().set("b", 1).incr("b").hset("h", { x: 1 }).hgetall("h").exec()).toEqual([
        "OK",
        2,
        1,
        { x: 1 },
      ]);
    });

    test("with a command that cannot run is discarded whole", async () => {
      const commands = [["SET", "a", "x"], ["GET"]];
      expect(await ask("/multi-exec", commands)).toEqual(refused("ERR wrong number of arguments for 'get' command"));
      await expect(
        redis
          .multi()
          .set("a", "x")
          .exec()
          .then(() => redis.get("a")),
      ).resolves.toBe("x");
      expect(await ask("/multi-exec", [["DEL", "a"], ["GET"]])).toMatchObject({ status: 400 });
      expect(await redis.get("a")).toBe("x");
    });

    test("lets nothing in between", async () => {
      const add = () => redis.multi().incr("n").incr("n").exec<[number, number]>();
      const sums = await Promise.all(Array.from({ length: 20 }, add));
      expect(sums.every(([first, second]) => second === first + 1)).toBe(true);
      expect(await redis.get("n")).toBe(40);
    });
  });

  describe("a script", () => {
    const UPSTASH =
      '#!lua flags=allow-key-locking\n  return {redis.call("INCRBY", KEYS[1], ARGV[1]), "by " .. ARGV[1]}\n';

    test("is found by the hash of its whole text once it was run or loaded", async () => {
      const sha1 = (script: string) => createHash("sha1").update(script).digest("hex");
      const other = "return ARGV[1]";
      expect(await run("EVALSHA", sha1(UPSTASH), 1, "n", 2)).toEqual(
        refused("NOSCRIPT No matching script. Please use EVAL."),
      );
      expect(await redis.eval(UPSTASH, ["n"], [2])).toEqual([2, "by 2"]);
      expect(await redis.evalsha(sha1(UPSTASH).toUpperCase(), ["n"], [2])).toEqual([4, "by 2"]);
      expect(await redis.scriptLoad(other)).toBe(sha1(other));
      expect(await redis.scriptExists(sha1(UPSTASH), sha1(other), sha1("?"))).toEqual([1, 1, 0]);
      expect(await ask("/pipeline", [["EVALSHA", sha1(other), 0, "x"]])).toEqual({
        status: 200,
        body: [{ result: "x" }],
      });
      expect(await redis.createScript(`return "made"`).exec([], [])).toBe("made");
      expect(await redis.scriptFlush()).toBe("OK");
      expect(await redis.scriptExists(sha1(UPSTASH))).toEqual([0]);
      await expect(redis.evalsha(sha1(other), [], [])).rejects.toThrow("NOSCRIPT");
    });

    test("sees Redis's values as Lua's", async () => {
      await redis.hset("hash", { a: "1" });
      await redis.set("empty", "");
      const script = `
        local absent, hash = redis.call("GET", "absent"), redis.call("HMGET", "hash", "a", "absent")
        redis.call("SET", "count", 7, "px", 100000)
        local page = redis.call("SCAN", "0", "MATCH", "count")
        return {
          absent == false and "absent", hash[1], hash[2] == false and "absent", type(hash[1]),
          redis.call("GET", "count"), redis.call("PTTL", "count") > 90000 and "expires", redis.call("INCR", "count"),
          page[1], page[2], #redis.call("HGETALL", "hash"), redis.call("GET", "empty") == "" and "empty",
          redis.call("SET", "count", 1), "after " .. redis.call("INCR", "count"), #KEYS, #ARGV, tonumber(ARGV[2]) * 2,
          "ü \\"quoted\\"\\n", redis.call("HGETALL", "absent"),
        }`;
      expect(await run("EVAL", script, 1, "key", "first", "21")).toEqual(
        result([
          ...[
            "absent",
            "1",
            "absent",
            "string",
            "7",
            "expires",
            8,
            "0",
            ["count"],
            2,
            "empty",
            "OK",
            "after 2",
            1,
            2,
            42,
          ],
          ...['ü "quoted"\n', []],
        ]),
      );
      expect(await run("GET", "count")).toEqual(result("2"));
      expect(await run("EVAL", "return {1, nil, 3}", 0)).toEqual(result([1]));
      expect(await run("EVAL", "return nil", 0)).toEqual(result(null));
      expect(await run("EVAL", "return redis.status_reply('FINE')", 0)).toEqual(result("FINE"));
    });

    test("fails as one in Redis does", async () => {
      const fails = async (script: string, error: RegExp) =>
        expect(await run("EVAL", script, 0)).toEqual(refused(expect.stringMatching(error)));
      await fails("return (", /^ERR Error compiling script/);
      await fails("return undeclared", /Script attempted to access nonexistent global variable 'undeclared'/);
      await fails("made = 1", /readonly table/);
      await fails('return redis.call("NOSUCH")', /^ERR Unknown Redis command called from script/);
      await fails('return redis.error_reply("MINE it is")', /^MINE it is/);
      await fails('return redis.call("SET", "a", {})', /Lua redis lib command arguments must be strings or integers/i);
      await fails('error("on purpose")', /^ERR user_script:1: on purpose/);
      await fails("\nlocal x = nil\nreturn x.y", /^ERR user_script:3: /);
      expect(await run("EVAL", 'return redis.pcall("NOSUCH").err', 0)).toEqual(
        result(expect.stringMatching(/^ERR Unknown Redis command/)),
      );
      expect(await run("EVAL", "return 1", "x")).toMatchObject(refused("ERR value is not an integer or out of range"));
      expect(await run("EVAL", "return 1", 1)).toMatchObject(
        refused("ERR Number of keys can't be greater than number of args"),
      );
      expect(await run("SCRIPT", "LOAD", "return (")).toEqual(
        refused(expect.stringMatching(/^ERR Error compiling script/)),
      );
    });
  });

  describe("@upstash/ratelimit", () => {
    const { slidingWindow, fixedWindow, tokenBucket } = Ratelimit;
    const MIDST = Date.UTC(2030, 0, 1, 12, 30); // of an hour: no window turns unless we turn it
    beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: MIDST }));
    afterEach(() => void vi.useRealTimers());

    const limits = [
      ["slidingWindow", slidingWindow(3, "1 h")],
      ["fixedWindow", fixedWindow(3, "1 h")],
      ["tokenBucket", tokenBucket(1, "1 h", 3)],
    ] as const;

    test.each(limits)("%s lets as many through as it should, and no more", async (_, limiter) => {
      await Promise.all(Array.from({ length: 30 }, (_, i) => redis.set(`other:${i}`, i)));
      const limit = new Ratelimit({ redis, limiter, ephemeralCache: false, prefix: "limit" });
      expect(await limit.getRemaining("ann")).toMatchObject({ remaining: 3, limit: 3 });
      for (const remaining of [2, 1, 0]) expect(await limit.limit("ann")).toMatchObject({ success: true, remaining });
      expect(await limit.limit("ann")).toMatchObject({ success: false, remaining: 0, limit: 3 });
      expect(await limit.getRemaining("ann")).toMatchObject({ remaining: 0 });
      expect(await limit.limit("bob")).toMatchObject({ success: true, remaining: 2 });
      vi.setSystemTime(MIDST + 3 * 3600_000);
      expect(await limit.limit("bob")).toMatchObject({ success: true, remaining: 2 });
      vi.setSystemTime(MIDST);
      await limit.resetUsedTokens("ann");
      expect(await limit.getRemaining("ann")).toMatchObject({ remaining: 3 });
      expect(await limit.limit("ann")).toMatchObject({ success: true, remaining: 2 });
      expect(await redis.exists("other:0", "other:29")).toBe(2);
    });

    test("its keys expire, and it takes EVAL only once", async () => {
      const limit = new Ratelimit({ redis, limiter: slidingWindow(3, "1 h"), ephemeralCache: false, prefix: "limit" });
      await redis.scriptFlush();
      await control("stats/reset");
      await limit.limit("ann");
      await limit.limit("ann");
      expect((await stats()).byCommand).toEqual({ EVALSHA: 2, EVAL: 1 });
      const [key = ""] = await redis.keys("limit:ann:*");
      expect(await redis.pttl(key)).toBeGreaterThan(7_000_000);
      expect(await redis.pttl(key)).toBeLessThanOrEqual(7_201_000);
    });

    test("resetting leaves none of many keys behind", async () => {
      const keys = Array.from({ length: 50 }, (_, i) => `limit:ann:${i}`);
      await redis.mset({ ...Object.fromEntries(keys.map((key) => [key, 1])), "limit:anna:1": 1 });
      const limit = new Ratelimit({ redis, limiter: slidingWindow(3, "1 h"), prefix: "limit" });
      await limit.resetUsedTokens("ann");
      expect(await redis.keys("*")).toEqual(["limit:anna:1"]);
    });

    test("never lets one too many through at once", async () => {
      const limit = new Ratelimit({ redis, limiter: slidingWindow(5, "1 h"), ephemeralCache: false, prefix: "limit" });
      const answers = await Promise.all(Array.from({ length: 20 }, () => limit.limit("ann")));
      expect(answers.filter(({ success }) => success)).toHaveLength(5);
    });
  });

  describe("/_control", () => {
    test("counts requests and commands", async () => {
      await redis.set("a", 1);
      await redis.pipeline().get("a").get("a").exec();
      await client({ token: "wrong" })
        .ping()
        .catch(() => {});
      expect(await stats()).toEqual({ requests: 3, commands: 3, byCommand: { SET: 1, GET: 2 } });
      await control("stats/reset");
      expect(await stats()).toEqual({ requests: 0, commands: 0, byCommand: {} });
    });

    test("empties the data", async () => {
      await redis.set("a", 1);
      expect((await control("flush")).status).toBe(200);
      expect(await redis.dbsize()).toBe(0);
    });

    test.each(["down", "drop"] as const)("%s closes the next requests without an answer or effect", async (kind) => {
      await control("fault", { kind, count: 2 });
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

    test("refuses what it does not know", async () => {
      for (const fault of [{}, { kind: "odd" }, { kind: "slow", ms: -1 }, { kind: "down", count: 0 }, "down"]) {
        const response = await control("fault", fault);
        expect(response.status).toBe(400);
        expect(await response.json()).toEqual({ error: expect.any(String) });
      }
      expect((await control("nothing")).status).toBe(404);
      expect(await redis.ping()).toBe("PONG");
    });
  });
}

describe.each(backends)("the module, on its $backend back end,", ({ backend, skip }) => {
  test.skipIf(skip)("keeps two emulators apart", async () => {
    const [one, two] = await Promise.all([startUpstash({ backend }), startUpstash({ backend })]);
    await new Redis(one).set("a", 1);
    expect(await new Redis(two).get("a")).toBeNull();
    expect(one.url).not.toBe(two.url);
    await Promise.all([one.stop(), two.stop()]);
  });

  test.skipIf(skip)("stops at once, whatever it still has to answer", async () => {
    const upstash = await startUpstash({ backend });
    const fault = JSON.stringify({ kind: "slow", ms: 600_000 });
    await fetch(`${upstash.url}/_control/fault`, { method: "POST", body: fault });
    const late = new Redis({ ...upstash, retry: { retries: 0 } }).get("a");
    const refusal = expect(late).rejects.toThrow("fetch failed");
    await expect.poll(() => statsOf(upstash)).toMatchObject({ requests: 1 });
    await upstash.stop();
    await refusal;
    await expect(fetch(upstash.url)).rejects.toThrow("fetch failed");
  });
});

async function statsOf(upstash: Upstash) {
  const response = await fetch(`${upstash.url}/_control/stats`);
  return (await response.json()) as { requests: number; commands: number; byCommand: Record<string, number> };
}

describe.skipIf(!serverBinary)("a Redis server of the emulator's own", () => {
  let dataDir: string;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "upstash-test-"));
    return () => rm(dataDir, { recursive: true });
  });

  const redisPid = async (upstash: { url: string; token: string }) => {
    const info = String(await new Redis({ ...upstash, automaticDeserialization: false }).exec(["INFO", "server"]));
    return Number(/process_id:(\d+)/.exec(info)?.[1]);
  };

  test("keeps its data in a given folder, however it ends", async () => {
    const first = await startUpstash({ backend: "server", dataDir });
    await new Redis(first).set("kept", "yes", { ex: 1000 });
    const firstPid = await redisPid(first);
    await first.stop();
    expect(isAlive(firstPid)).toBe(false);

    const second = await launch("--backend", "server", "--data", dataDir);
    expect(await new Redis(second.about).get("kept")).toBe("yes");
    await new Redis(second.about).set("kept", "still");
    const pid = await redisPid(second.about);
    second.process.kill("SIGKILL");
    await expect.poll(() => isAlive(pid)).toBe(false);

    const third = await startUpstash({ backend: "server", dataDir });
    expect(await new Redis(third).get("kept")).toBe("still");
    expect(await new Redis(third).ttl("kept")).toBe(-1);
    await third.stop();
  });

  test.each(["SIGKILL", "SIGTERM", "SIGINT"] as const)("does not outlive it after %s", async (signal) => {
    const { process, about } = await launch("--backend", "server");
    const pid = await redisPid(about);
    expect(isAlive(pid)).toBe(true);
    process.kill(signal);
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  test("takes the process with it when it ends, with a line that says so", async () => {
    const { process: emulator, about, stderr } = await launch("--backend", "server");
    process.kill(await redisPid(about), "SIGKILL");
    expect(await once(emulator, "exit")).toEqual([1, null]);
    expect(await stderr).toMatch(/^(redis|valkey)-server ended/);
  });

  test("that is gone makes every request a 500", async () => {
    const lines: string[] = [];
    const upstash = await startUpstash({ backend: "server", onExit: (line) => lines.push(line) });
    process.kill(await redisPid(upstash), "SIGKILL");
    await expect.poll(() => lines).toEqual([expect.stringMatching(/^(redis|valkey)-server ended/)]);
    const response = await fetch(`${upstash.url}/ping?_token=${upstash.token}`);
    expect(response.status).toBe(500);
    expect(await response.json()).toEqual({ error: expect.stringMatching(/^ERR /) });
    await upstash.stop();
  });

  test("that does not start is an error with its words", async () => {
    const start = startUpstash({ backend: "server", redisBinary: "/nowhere/redis-server" });
    await expect(start).rejects.toThrow(/redis-server ended: .*(not found|No such file)/);
  });
});

describe("the program", () => {
  test("ends with its parent", async () => {
    const { process } = await launch("--backend", "mock");
    process.disconnect();
    expect(await once(process, "exit")).toEqual([0, null]);
  });

  test("says where it listens, with what to set and what to try", async () => {
    const child = spawn(process.execPath, [PROGRAM, "--backend", "mock", "--token", "mine"]);
    let said = "";
    for await (const chunk of child.stdout) {
      said += chunk;
      if (said.includes("Try it: ")) break;
    }
    const url = /^ {2}UPSTASH_REDIS_REST_URL=(http:\/\/127\.0\.0\.1:\d+)$/m.exec(said)?.[1] ?? "";
    expect(said).toContain("ioredis-mock");
    expect(said).toMatch(/^ {2}UPSTASH_REDIS_REST_TOKEN=mine$/m);
    expect(await new Redis({ url, token: "mine" }).ping()).toBe("PONG");
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("says in one line that its port is in use", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    const port = typeof address === "object" ? address?.port : 0;
    const answer = await fails("--backend", "mock", "--port", String(port));
    other.close();
    expect(answer).toEqual({ code: 1, stderr: expect.stringMatching(/^.*port.* in use.*\n$/) });
  });

  test.each([["--port", "many"], ["--backend", "cloud"], ["--token", "two words"], ["--nonsense"]])(
    "refuses %s %s and says how it is used",
    async (...args) => {
      expect(await fails(...args)).toEqual({ code: 1, stderr: expect.stringMatching(/^.*--.*\nUsage: .*\n$/) });
    },
  );

  async function fails(...args: string[]) {
    const child = spawn(process.execPath, [PROGRAM, ...args]);
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, "exit")]);
    return { code, stderr };
  }
});

async function launch(...args: string[]) {
  const child: ChildProcess = spawn(process.execPath, [PROGRAM, ...args], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const stderr = child.stderr ? text(child.stderr) : "";
  const [{ ready }] = await once(child, "message");
  return { process: child, about: ready as { url: string; token: string; backend: string }, stderr };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
