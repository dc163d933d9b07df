import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type HttpRequest, toEvent } from "../dev/event.ts";
import { routerOf } from "../dev/gateway/router.ts";
import type { Route } from "../lib/api/route.ts";

const subaccountId = "64b000000000000000000001";
const list = `/api/chats/${subaccountId}/list`;

function eventOf(request: Partial<HttpRequest>) {
  return toEvent({ method: "GET", target: "/health", ...request });
}

afterEach(() => {
  vi.useRealTimers();
});

test("a request without query, parameters, cookies and body has none of them in its event", () => {
  expect(Object.keys(eventOf({})).sort()).toEqual(
    ["headers", "isBase64Encoded", "rawPath", "rawQueryString", "requestContext", "routeKey", "version"].sort(),
  );
  expect(eventOf({})).toMatchObject({
    version: "2.0",
    routeKey: "GET /health",
    rawPath: "/health",
    rawQueryString: "",
    isBase64Encoded: false,
  });
});

test("the request context says who asked for what, and when", () => {
  vi.useFakeTimers({ now: Date.UTC(2026, 2, 2, 19, 3, 8, 390) });
  const { requestContext } = eventOf({
    method: "POST",
    target: `${list}?limit=5`,
    headers: { Host: "abc.example.com:3000", "User-Agent": "test/1.0" },
    sourceIp: "192.0.2.7",
  });
  expect(requestContext).toEqual({
    accountId: "123456789012",
    apiId: "local",
    domainName: "abc.example.com",
    domainPrefix: "abc",
    http: { method: "POST", path: list, protocol: "HTTP/1.1", sourceIp: "192.0.2.7", userAgent: "test/1.0" },
    requestId: expect.stringMatching(/^[\w+/]{15}=$/),
    routeKey: "$default",
    stage: "$default",
    time: "02/Mar/2026:19:03:08 +0000",
    timeEpoch: Date.UTC(2026, 2, 2, 19, 3, 8, 390),
  });
});

describe("headers", () => {
  test("their names are lower-cased, and those that come twice are joined by a comma", () => {
    const pairs = [
      ["Accept", "text/html"],
      ["X-Operation-ID", "AbC"],
      ["accept", "application/json"],
    ] as const;
    expect(eventOf({ headers: pairs }).headers).toMatchObject({
      accept: "text/html,application/json",
      "x-operation-id": "AbC",
    });
  });

  test("no name can reach the prototype", () => {
    const { headers } = eventOf({ headers: [["__proto__", "1"] as const, ["constructor", "2"] as const] });
    expect(Object.entries(headers)).toEqual(expect.arrayContaining([["__proto__", "1"]]));
    expect(Object.getPrototypeOf(headers)).toBe(Object.prototype);
    expect(headers.constructor).toBe("2");
  });

  test("cookies are split into a list of their own and are no header", () => {
    const event = eventOf({
      headers: [["Cookie", "session=abc; theme=dark"] as const, ["cookie", "x=1"] as const],
    });
    expect(event.cookies).toEqual(["session=abc", "theme=dark", "x=1"]);
    expect(event.headers).not.toHaveProperty("cookie");
  });

  test("what belongs to the connection ends at the gateway, and the length is that of the body", () => {
    const { headers } = eventOf({
      headers: { Connection: "keep-alive", "Transfer-Encoding": "chunked", TE: "trailers", Expect: "100-continue" },
      body: "häppchen",
    });
    expect(headers).toEqual({
      "content-length": "9",
      "x-amzn-trace-id": expect.stringMatching(/^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$/),
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-port": "80",
      "x-forwarded-proto": "http",
    });
  });

  test("the caller's address is added to those that it says it forwards for", () => {
    const { headers, requestContext } = eventOf({ headers: { "X-Forwarded-For": "10.0.0.1" }, sourceIp: "192.0.2.7" });
    expect(headers["x-forwarded-for"]).toBe("10.0.0.1, 192.0.2.7");
    expect(requestContext.http.sourceIp).toBe("192.0.2.7");
  });
});

describe("query", () => {
  test.each([
    ["?limit=5&cursor=a", { limit: "5", cursor: "a" }],
    ["?tag=a&tag=b&tag=", { tag: "a,b," }],
    ["?q=a%20b%2Bc+d&n%C3%A4me=1", { q: "a b+c d", näme: "1" }],
    ["?flag&empty=", { flag: "", empty: "" }],
    ["?a=b?c", { a: "b?c" }],
    ["?a=%zz", { a: "%zz" }],
  ])("%s is decoded in the parameters and as sent in the raw query", (query, parameters) => {
    const event = eventOf({ target: `${list}${query}` });
    expect(event.queryStringParameters).toEqual(parameters);
    expect(event.rawQueryString).toBe(query.slice(1));
    expect(event.rawPath).toBe(list);
  });

  test("a lone question mark is no query", () => {
    expect(eventOf({ target: "/health?" })).not.toHaveProperty("queryStringParameters");
    expect(eventOf({ target: "/health?" }).routeKey).toBe("GET /health");
  });
});

describe("routes", () => {
  const message = "POST /api/chats/{subaccountId}/{chatId}/message";

  test("path parameters and the path are decoded", () => {
    const event = eventOf({ method: "POST", target: `/api/chats/${subaccountId}/chat%20%C3%A4%3F/message` });
    expect(event.routeKey).toBe(message);
    expect(event.pathParameters).toEqual({ subaccountId, chatId: "chat ä?" });
    expect(event.rawPath).toBe(`/api/chats/${subaccountId}/chat ä?/message`);
    expect(event.requestContext.http.path).toBe(event.rawPath);
  });

  test("a path parameter is whatever was escaped into one segment, but never nothing and never with a slash", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."a./%?#+&= \0ä😀") }), (chatId) => {
        const event = eventOf({ method: "POST", target: `/api/chats/s/${encodeURIComponent(chatId)}/message` });
        const matches = chatId !== "" && !chatId.includes("/");
        expect(event.routeKey).toBe(matches ? message : "$default");
        expect(event.pathParameters).toEqual(matches ? { subaccountId: "s", chatId } : undefined);
      }),
    );
  });

  test("a broken escape stays as it was sent", () => {
    const event = eventOf({ target: "/api/chats/%zz/list" });
    expect(event.pathParameters).toEqual({ subaccountId: "%zz" });
    expect(event.rawPath).toBe("/api/chats/%zz/list");
  });

  test.each([
    ["GET", "/Health"],
    ["GET", "/health/"],
    ["GET", "//health"],
    ["GET", "/api/chats//list"],
    ["GET", `${list}/`],
    ["GET", `/api/chats/${subaccountId}%2Flist`],
    ["GET", `/api/chats/${subaccountId}/LIST`],
    ["POST", "/health"],
    ["HEAD", "/health"],
    ["OPTIONS", "/health"],
    ["get", "/health"],
    ["OPTIONS", "*"],
  ])("%s %s goes to $default", (method, target) => {
    const event = eventOf({ method, target });
    expect(event.routeKey).toBe("$default");
    expect(event).not.toHaveProperty("pathParameters");
  });

  test("the most specific route wins, whatever the order of the table", () => {
    const rows = (
      [
        ["ANY", "/chats/{id}"],
        ["GET", "/chats/{id}"],
        ["GET", "/chats/mine"],
        ["ANY", "/chats/mine"],
        ["GET", "/{any}/mine"],
        ["ANY", "$default"],
      ] as const
    ).map(([method, path]) => ({ method, path, name: `${method} ${path}` }) as Route);
    const fallback = rows.at(-1) as Route;

    for (const order of [rows, rows.toReversed()]) {
      const find = routerOf(order, fallback);
      expect(find("GET", "/chats/mine").route.name).toBe("GET /chats/mine");
      expect(find("PUT", "/chats/mine").route.name).toBe("ANY /chats/mine");
      expect(find("GET", "/chats/1").route.name).toBe("GET /chats/{id}");
      expect(find("PUT", "/chats/1").route.name).toBe("ANY /chats/{id}");
      expect(find("GET", "/other/mine").route.name).toBe("GET /{any}/mine");
      expect(find("PUT", "/other/mine").route.name).toBe("ANY $default");
    }
  });
});

describe("bodies", () => {
  test.each([
    ["application/json", false],
    ["application/json; charset=utf-8", false],
    ["APPLICATION/JSON;CHARSET=UTF-8", false],
    ['application/json; charset="utf-8"', false],
    ["text/plain", false],
    ["text/csv", false],
    ["application/xml", false],
    ["application/javascript", false],
    ["text/plain; charset=iso-8859-1", true],
    ["application/x-www-form-urlencoded", true],
    ["multipart/form-data; boundary=x", true],
    ["application/octet-stream", true],
    ["application/vnd.api+json", true],
    ["application/jsonp", true],
    ["image/png", true],
    [undefined, true],
  ])("of type %s: base64 is %s", (type, isBase64Encoded) => {
    const event = eventOf({ method: "POST", headers: type ? { "Content-Type": type } : {}, body: '{"a":"ä"}' });
    expect(event.isBase64Encoded).toBe(isBase64Encoded);
    expect(event.body).toBe(isBase64Encoded ? Buffer.from('{"a":"ä"}').toString("base64") : '{"a":"ä"}');
  });

  test("JSON that is not UTF-8 comes as base64, so that nothing is lost", () => {
    const body = Buffer.from([0x7b, 0xff, 0x7d]);
    const event = eventOf({ method: "POST", headers: { "content-type": "application/json" }, body });
    expect(event).toMatchObject({ body: body.toString("base64"), isBase64Encoded: true });
  });

  test("whatever was sent can be had back byte for byte", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.constantFrom("application/json", "image/png"), (body, type) => {
        const event = eventOf({ method: "POST", headers: { "content-type": type }, body });
        const back = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8");
        expect(back).toEqual(Buffer.from(body));
      }),
    );
  });

  test("a body of no bytes is none", () => {
    const event = eventOf({ method: "POST", headers: { "content-type": "image/png" }, body: new Uint8Array() });
    expect(event).not.toHaveProperty("body");
    expect(event.isBase64Encoded).toBe(false);
  });
});
