import { createHash } from "node:crypto";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { anEmulator, refused, result } from "./support/emulator.ts";

const { client, redis, ask, run, control, stats, reset, stop } = await anEmulator();
beforeEach(reset);
afterAll(stop);

describe("a command", () => {
  test.each(["NOSUCH", "constructor", "SHUTDOWN", "CONFIG", "DEBUG"])("%s is not available", async (name) => {
    const error = expect.stringMatching(`^ERR Command is not available: '${name.toUpperCase()}'`);
    expect(await run(name, "GET", "x")).toEqual(refused(error));
    expect(await ask("/pipeline", [[name], ["PING"]])).toEqual({ status: 200, body: [{ error }, { result: "PONG" }] });
    expect(await ask("/multi-exec", [["SET", "a", "1"], [name]])).toEqual(refused(error));
    expect(await run("EXISTS", "a")).toEqual(result(0));
  });

  test.each([
    ["SUBSCRIBE", "x"],
    ["BLPOP", "x", 0],
    ["XREAD", "BLOCK", 0, "STREAMS", "x", "$"],
    ["MULTI"],
    ["WATCH", "x"],
    ["SELECT", 1],
    ["QUIT"],
  ])("%s is not allowed over REST", async (...command) => {
    const error = `ERR Command "${command[0]}" is not allowed in REST or it has a special context path`;
    expect(await run(...command)).toEqual(refused(error));
    expect(await ask("/multi-exec", [command])).toEqual(refused(error));
    expect(await ask(`/${command.join("/").toLowerCase()}`)).toEqual(refused(error));
  });

  test("of caches, counters, lists and sets works through @upstash/redis", async () => {
    expect(await redis.mset({ a: 1, b: 2 })).toBe("OK");
    expect(await redis.set("a", "3", { get: true, ex: 100 })).toBe(1);
    expect(await redis.ttl("a")).toBe(100);
    expect(await redis.set("a", "4", { nx: true })).toBeNull();
    expect(await redis.incrby("a", 5)).toBe(8);
    expect(await redis.getdel("b")).toBe(2);
    expect(await redis.rpush("l", "x", "y")).toBe(2);
    expect(await redis.lrange("l", 0, -1)).toEqual(["x", "y"]);
    expect(await redis.zadd("z", { nx: true }, { score: 2, member: "b" }, { score: 1, member: "a" })).toBe(2);
    expect(await redis.zrange("z", 0, -1, { withScores: true })).toEqual(["a", 1, "b", 2]);
    expect(await redis.scan("0", { match: "?", type: "list" })).toEqual(["0", ["l"]]);
  });
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

  test("is what @upstash/redis makes of commands of one tick", async () => {
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
    const replies = await redis.multi().set("b", 1).incr("b").hset("h", { x: 1 }).hgetall("h").exec();
    expect(replies).toEqual(["OK", 2, 1, { x: 1 }]);
  });

  test("with a command that cannot run is discarded as a whole", async () => {
    const commands = [["SET", "a", "x"], ["GET"]];
    expect(await ask("/multi-exec", commands)).toEqual(refused("ERR wrong number of arguments for 'get' command"));
    expect(await redis.get("a")).toBeNull();
  });

  test("lets nothing in between", async () => {
    const add = () => redis.multi().incr("n").incr("n").exec<[number, number]>();
    const sums = await Promise.all(Array.from({ length: 20 }, add));
    expect(sums.every(([first, second]) => second === first + 1)).toBe(true);
    expect(await redis.get("n")).toBe(40);
  });
});

describe("a script", () => {
  const LOCKING =
    '#!lua flags=allow-key-locking\n  return {redis.call("INCRBY", KEYS[1], ARGV[1]), "by " .. ARGV[1]}\n';

  test("is found by the hash of its whole text once it was run or loaded", async () => {
    const sha1 = (script: string) => createHash("sha1").update(script).digest("hex");
    const other = "return ARGV[1]";
    const unknown = refused("NOSCRIPT No matching script. Please use EVAL.");
    expect(await run("EVALSHA", sha1(LOCKING), 1, "n", 2)).toEqual(unknown);
    expect(await redis.eval(LOCKING, ["n"], [2])).toEqual([2, "by 2"]);
    expect(await redis.evalsha(sha1(LOCKING).toUpperCase(), ["n"], [2])).toEqual([4, "by 2"]);
    expect(await redis.scriptLoad(other)).toBe(sha1(other));
    expect(await redis.scriptExists(sha1(LOCKING), sha1(other), sha1("?"))).toEqual([1, 1, 0]);
    const pipeline = [["EVALSHA", sha1(other), 0, "x"]];
    expect(await ask("/pipeline", pipeline)).toEqual({ status: 200, body: [{ result: "x" }] });
    expect(await redis.scriptFlush()).toBe("OK");
    expect(await redis.scriptExists(sha1(LOCKING))).toEqual([0]);
    await expect(redis.evalsha(sha1(other), [], [])).rejects.toThrow("NOSCRIPT");
  });

  test("that fails says so as Redis does", async () => {
    expect(await run("EVAL", "return (", 0)).toEqual(refused(expect.stringMatching(/^ERR Error compiling script/)));
    expect(await run("SCRIPT", "LOAD", "return (")).toEqual(refused(expect.stringMatching(/^ERR Error compiling/)));
    const mine = 'return redis.error_reply("MINE it is")';
    expect(await run("EVAL", mine, 0)).toEqual(refused(expect.stringMatching(/^MINE it is/)));
  });
});
