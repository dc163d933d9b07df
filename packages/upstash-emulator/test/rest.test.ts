import { request as httpRequest } from "node:http";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { anEmulator, refused, result } from "./support/emulator.ts";

const LIMIT = 10 * 1024 * 1024;
const { url, token, client, redis, send, ask, run, reset, stop } = await anEmulator();
beforeEach(reset);
afterAll(stop);

describe("a request", () => {
  test("without the token, or with another one, is refused with 401", async () => {
    const wrong = [{}, { authorization: "Bearer wrong" }, { authorization: "Bearer" }, { authorization: token }];
    for (const headers of wrong) {
      const response = await fetch(url, { method: "POST", headers, body: '["PING"]' });
      expect(response.status).toBe(401);
      expect(await response.json()).toEqual({ error: "WRONGPASS invalid or missing auth token" });
    }
    await expect(client({ token: "wrong" }).ping()).rejects.toThrow("WRONGPASS");
  });

  test("may carry the token in the query", async () => {
    const response = await fetch(`${url}/echo/hi?_token=${token}`);
    expect(await response.json()).toEqual({ result: "hi" });
  });

  test.each([
    ["host", "rebound.example", 403],
    ["host", "127.0.0.1.rebound.example", 403],
    ["host", "app.localhost", 200],
    ["host", "[::1]:80", 200],
    ["origin", "https://evil.example", 403],
    ["origin", "null", 403],
    ["origin", "http://localhost:5173", 200],
  ])("with the %s %s is answered with %s", async (name, value, status) => {
    for (const path of ["/ping", "/_control/stats"]) {
      const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
      const headers = { authorization: `Bearer ${token}`, [name]: value };
      httpRequest(url + path, { headers }, (response) => resolve(response.resume().statusCode))
        .on("error", reject)
        .end();
      expect(await promise).toBe(status);
    }
  });

  test("with another method is refused with 405", async () => {
    expect((await send("/", ["PING"], { method: "DELETE" })).status).toBe(405);
  });

  test.each([
    ["nothing", undefined, "ERR empty command"],
    ["no JSON", "SET a b", /^ERR failed to parse command/],
    ["an object", { SET: "a" }, /expected JSON array/],
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

  const set = ["SET", "a", "1"];
  test.each([
    ["no JSON", "GET a", /^ERR failed to parse command/],
    ["one command", set, /expected JSON array/],
    ["no command", [], /^ERR empty command/],
    ["an empty command", [set, []], /^ERR empty command/],
    ["null as an argument", [set, ["GET", null]], /^ERR null args are not supported/],
  ])("for several commands with %s is refused as a whole", async (_, body, error) => {
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
    expect(await ask("/ttl/bar")).toEqual(result(100));
    expect(await ask("/get/%E0%A4%A", undefined, { method: "GET" })).toEqual(refused(expect.stringMatching(/path/)));
  });
});

describe("an answer", () => {
  test("keeps nil, integers, strings and nested arrays apart", async () => {
    expect(await run("GET", "none")).toEqual(result(null));
    expect(await run("INCRBY", "n", 41)).toEqual(result(41));
    expect(await run("MGET", "n", "none")).toEqual(result(["41", null]));
    expect(await run("EVAL", 'return {1, {2, {"three", "OK"}}, 3.9, true, false}', 0)).toEqual(
      result([1, [2, ["three", "OK"]], 3, 1, null]),
    );
    expect(await run("HGETALL", "none")).toEqual(result([]));
  });

  test("has every string in base64 when asked for, except a lone OK", async () => {
    const commands = [
      ["SET", "a", "ü"],
      ["GET", "a"],
      ["GET", "none"],
      ["STRLEN", "a"],
      ["SET", "b", "OK"],
      ["MGET", "a", "b", "none"],
      ["INCR", "a"],
    ];
    const { body } = await ask("/pipeline", commands, { headers: { "upstash-encoding": "base64" } });
    const results = ["OK", "w7w=", null, 2, "OK", ["w7w=", "T0s=", null]].map((result) => ({ result }));
    expect(body).toEqual([...results, { error: "ERR value is not an integer or out of range" }]);
  });

  test.each([{}, { responseEncoding: false } as const])("is understood by @upstash/redis with %o", async (config) => {
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
  });

  test("carries a new sync token each time, whatever token the request has", async () => {
    const syncToken = async (path: string, body: unknown, given: string) => {
      const response = await send(path, body, { headers: { "upstash-sync-token": given } });
      expect(response.status).toBe(200);
      return response.headers.get("upstash-sync-token");
    };
    const first = await syncToken("/", ["SET", "a", 1], "");
    const second = await syncToken("/pipeline", [["GET", "a"]], String(first));
    const third = await syncToken("/multi-exec", [["INCR", "a"]], "another's");
    expect(new Set([first, second, third, null]).size).toBe(4);

    const one = client();
    await one.set("a", 1);
    const before = one.readYourWritesSyncToken;
    await one.set("a", 2);
    expect([undefined, "", before]).not.toContain(one.readYourWritesSyncToken);
  });

  test("to a command that fails is 400 with Redis's message", async () => {
    await run("LPUSH", "list", "a");
    await run("SET", "text", "a");
    const wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value";
    expect(await run("GET", "list")).toEqual(refused(wrongType));
    expect(await run("INCR", "text")).toEqual(refused("ERR value is not an integer or out of range"));
    expect(await run("GET")).toEqual(refused("ERR wrong number of arguments for 'get' command"));
    await expect(redis.incr("text")).rejects.toThrow("ERR value is not an integer");
  });
});
