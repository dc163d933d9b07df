import { once } from "node:events";
import { Agent } from "node:http";
import type { APIGatewayProxyEventV2, Context } from "aws-lambda";
import { describe, expect, test, vi } from "vitest";
import { aGateway, ask, behind, muted, open } from "./support/gateway.ts";

describe("with the API's own functions", () => {
  test("GET /health is answered by its function", async () => {
    const { status, headers, json } = await ask(await aGateway());
    expect(status).toBe(200);
    expect(json()).toMatchObject({ success: true, data: { status: "ok" } });
    expect(headers["content-type"]).toBe("application/json");
    expect(headers["apigw-requestid"]).toMatch(/^[\w+/]{15}=$/);
  });

  test.each([
    ["GET", "/", 404, "NOT_FOUND"],
    ["GET", "/Health", 404, "NOT_FOUND"],
    ["GET", "/health/", 404, "NOT_FOUND"],
    ["GET", "/api/chats//list", 404, "NOT_FOUND"],
    ["POST", "/health", 405, "METHOD_NOT_ALLOWED"],
    ["PUT", "/api/chats/64b000000000000000000001/list", 405, "METHOD_NOT_ALLOWED"],
  ])("%s %s reaches the $default function: %i %s", async (method, path, status, code) => {
    const answer = await ask(await aGateway(), path, { method });
    expect(answer.status).toBe(status);
    expect(answer.json()).toMatchObject({ success: false, code });
  });

  test("a HEAD request gets no body, and the length of the one it did not get", async () => {
    const { status, headers, body } = await ask(await aGateway(), "/health", { method: "HEAD" });
    expect(status).toBe(200);
    expect(Number(headers["content-length"])).toBeGreaterThan(0);
    expect(body).toHaveLength(0);
  });
});

describe("a function", () => {
  test("gets the event of its request, and its parameters", async () => {
    const list = (event: APIGatewayProxyEventV2) => event;
    const gateway = await aGateway({ handlers: { list } });
    const answer = await ask(gateway, "/api/chats/abc/list?limit=5", { headers: { Cookie: "a=1", "X-Thing": "Ä" } });
    expect(answer.json()).toMatchObject({
      version: "2.0",
      routeKey: "GET /api/chats/{subaccountId}/list",
      pathParameters: { subaccountId: "abc" },
      queryStringParameters: { limit: "5" },
      cookies: ["a=1"],
      headers: { "x-thing": "Ä", "x-forwarded-port": new URL(gateway.url).port },
      requestContext: { domainName: "127.0.0.1", http: { sourceIp: "127.0.0.1" } },
    });
    const { requestContext } = answer.json() as APIGatewayProxyEventV2;
    expect(answer.headers["apigw-requestid"]).toBe(requestContext.requestId);
  });

  test("gets a Lambda context, whose time runs from its own limit", async () => {
    let context: Context | undefined;
    const gateway = await behind((_event, given) => {
      context = given;
    });
    await ask(gateway);
    const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/);
    expect(context).toMatchObject({
      functionName: "health",
      functionVersion: "$LATEST",
      invokedFunctionArn: "arn:aws:lambda:us-east-1:123456789012:function:health",
      memoryLimitInMB: "256",
      logGroupName: "/aws/lambda/health",
      logStreamName: expect.stringMatching(/^\d{4}\/\d\d\/\d\d\/\[\$LATEST\][0-9a-f]{32}$/),
      awsRequestId: uuid,
      callbackWaitsForEmptyEventLoop: true,
    });
    const left = context?.getRemainingTimeInMillis() ?? 0;
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(29_000);
    expect(() => context?.succeed("")).toThrow("return a promise");
  });

  test("gets a body that came in pieces, without a length, as a whole", async () => {
    const gateway = await behind(({ body, headers }) => ({ body, length: headers["content-length"] }));
    const asked = { method: "POST", headers: { "content-type": "text/plain" }, body: ["one ", "two ", "three"] };
    expect((await ask(gateway, "/", asked)).json()).toEqual({ body: "one two three", length: "13" });
  });

  test("takes and gives bytes as base64", async () => {
    const gateway = await behind(({ body, isBase64Encoded }) => ({ statusCode: 200, body, isBase64Encoded }));
    const bytes = Buffer.from([0, 255, 254, 10, 13]);
    const answer = await ask(gateway, "/", { method: "POST", headers: { "content-type": "image/png" }, body: bytes });
    expect(answer.body).toEqual(bytes);
  });

  test("sets each of its cookies in a header of its own", async () => {
    const gateway = await behind(() => ({
      statusCode: 200,
      headers: { "Set-Cookie": "c=3" },
      cookies: ["a=1", "b=2"],
    }));
    expect((await ask(gateway)).headers["set-cookie"]).toEqual(["c=3", "a=1", "b=2"]);
  });

  test("decides neither over the connection nor over the length of its answer", async () => {
    const headers = { "Content-Length": "3", Connection: "close", "transfer-encoding": "chunked", "X-Its-Own": 5 };
    const gateway = await behind(() => ({ statusCode: 201, headers, body: "whole" }));
    const agent = new Agent({ keepAlive: true });
    const answer = await ask(gateway, "/health", { agent });
    agent.destroy();
    expect(answer.body.toString()).toBe("whole");
    expect(answer.headers).toMatchObject({ "content-length": "5", connection: "keep-alive", "x-its-own": "5" });
    expect(answer.headers["content-type"]).toBe("text/plain; charset=utf-8");
  });

  test.each([204, 304])("that answers %i sends no body", async (statusCode) => {
    const gateway = await behind(() => ({ statusCode, headers: { "Content-Length": "6" }, body: "unseen" }));
    const answer = await ask(gateway);
    expect(answer.status).toBe(statusCode);
    expect(answer.body).toHaveLength(0);
    expect(answer.headers).not.toHaveProperty("content-length");
  });

  test.each([
    ["an object", { chats: 1, at: new Date(0) }, '{"chats":1,"at":"1970-01-01T00:00:00.000Z"}'],
    ["a list", [1, 2], "[1,2]"],
    ["text", 'say "hi"', 'say "hi"'],
    ["a number", 42, "42"],
    ["nothing", undefined, "null"],
  ])("that returns %s without a status has made a 200 of it", async (_what, result, body) => {
    const answer = await ask(await behind(() => result));
    expect(answer.status).toBe(200);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.body.toString()).toBe(body);
  });

  const circle: Record<string, unknown> = {};
  circle.circle = circle;
  test.each([
    ["a status in quotes", { statusCode: "200" }],
    ["a fraction of a status", { statusCode: 200.5 }],
    ["no status", { statusCode: null }],
    ["an interim status", { statusCode: 101 }],
    ["an object as body", { statusCode: 200, body: {} }],
    ["a list of values in a header", { statusCode: 200, headers: { "set-cookie": ["a=1"] } }],
    ["a line break in a header", { statusCode: 200, headers: { "x-a": "1\r\nx-b: 2" } }],
    ["headers that are text", { statusCode: 200, headers: "x-a: 1" }],
    ["cookies that are no list", { statusCode: 200, cookies: "a=1" }],
    ["what has no JSON", circle],
    ["more than 6 MB", { statusCode: 200, body: "x".repeat(6 * 1024 * 1024 + 100) }],
    ["more than 6 MB once it is escaped", { statusCode: 200, body: '"'.repeat(4 * 1024 * 1024) }],
  ])("that returns %s has failed: API Gateway's own 500", async (_what, result) => {
    muted();
    const answer = await ask(await behind(() => result));
    expect(answer.status).toBe(500);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.json()).toEqual({ message: "Internal Server Error" });
  });

  test("may return up to 6 MB", async () => {
    const body = "x".repeat(5.5 * 1024 * 1024);
    const answer = await ask(await behind(() => ({ statusCode: 200, body })));
    expect(answer.status).toBe(200);
    expect(answer.body).toHaveLength(body.length);
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("insides");
      },
    ],
    ["rejects", () => Promise.reject(new Error("insides"))],
    [
      "throws what is no error",
      () => {
        throw undefined;
      },
    ],
  ])("that %s has failed, and nothing of it leaves", async (_what, health) => {
    const said = muted();
    const answer = await ask(await behind(health));
    expect(answer.status).toBe(500);
    expect(answer.json()).toEqual({ message: "Internal Server Error" });
    expect(said).toHaveBeenCalledWith(
      "health:",
      expect.toSatisfy((error) => error === undefined || error.message === "insides"),
    );
  });
});

describe("time", () => {
  test("a function that is late has failed; what comes of it later is dropped", async () => {
    const said = muted();
    const late = Promise.withResolvers();
    const gateway = await behind(() => late.promise, { functionMs: 1 });
    const answer = await ask(gateway);
    expect(answer.status).toBe(500);
    expect(answer.json()).toEqual({ message: "Internal Server Error" });
    expect(said).toHaveBeenCalledWith("health: Task timed out after 0.00 seconds");
    late.reject(new Error("Too late")); // unhandled, it would fail this run
  });

  test("API Gateway gives up on a function that is later than its own limit", async () => {
    const gateway = await behind(() => new Promise(() => {}), { integrationMs: 1 });
    const answer = await ask(gateway);
    expect(answer.status).toBe(503);
    expect(answer.json()).toEqual({ message: "Service Unavailable" });
  });

  test("a client that leaves does not stop the function, nor the gateway", async () => {
    const entered = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    const finished = Promise.withResolvers<string>();
    const gateway = await aGateway({
      handlers: {
        default: async () => {
          entered.resolve();
          await left.promise;
          finished.resolve("ran to its end");
          return { statusCode: 200, body: "to nobody" };
        },
      },
    });
    const socket = await open(gateway, "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await entered.promise;
    socket.destroy();
    await once(socket, "close");
    left.resolve();
    expect(await finished.promise).toBe("ran to its end");
    expect((await ask(gateway)).status).toBe(200);
  });

  test("a client that leaves in the middle of its body invokes nothing", async () => {
    const said = muted();
    const health = vi.fn();
    const gateway = await behind(health);
    const socket = await open(gateway, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf");
    socket.destroy();
    await once(socket, "close");
    await ask(gateway);
    expect(health).toHaveBeenCalledTimes(1);
    expect(said).not.toHaveBeenCalled();
  });
});
