import { once } from "node:events";
import { Agent } from "node:http";
import { text } from "node:stream/consumers";
import { describe, expect, test, vi } from "vitest";
import { startChild } from "../dev/child.ts";
import { startGateway } from "../dev/gateway.ts";
import { type Asked, aGateway, ask, behind, muted, open } from "./support/gateway.ts";
import { tool } from "./support/tool.ts";

const MB = 1024 * 1024;
const ok = () => ({ statusCode: 200, body: "ok" });

describe("limits", () => {
  const tooLarge = { message: "Request Entity Too Large" };

  test.each([
    ["announced", "Content-Length: 10485761\r\n\r\n"],
    ["coming in pieces", `Transfer-Encoding: chunked\r\n\r\n${`100000\r\n${"x".repeat(MB)}\r\n`.repeat(11)}`],
  ])("a body of more than 10 MB, %s, is API Gateway's own 413 before it has ended", async (_how, rest) => {
    const health = vi.fn(ok);
    const socket = await open(await behind(health), `POST / HTTP/1.1\r\nHost: localhost\r\n${rest}`);
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1.1 413 .*\r\nConnection: close\r\n.*\{"message":"Request Entity Too Large"\}$/s);
    expect(health).not.toHaveBeenCalled();
  });

  test("a client that goes on sending all the same gets to see it", async () => {
    const body = Buffer.alloc(30 * MB);
    expect((await ask(await behind(ok), "/", { method: "POST", body })).json()).toEqual(tooLarge);
  });

  test("what is below 10 MB and yet more than Lambda takes is the same 413", async () => {
    const health = vi.fn(ok);
    const gateway = await behind(health);
    const sends = (body: Buffer): Asked => ({ method: "POST", headers: { "content-type": "text/plain" }, body });
    expect((await ask(gateway, "/", sends(Buffer.alloc(6 * MB + 100, "x")))).json()).toEqual(tooLarge);
    expect((await ask(gateway, "/", sends(Buffer.alloc(2 * MB)))).json()).toEqual(tooLarge); // NUL is \u0000 in JSON
    expect(health).not.toHaveBeenCalled();
    expect((await ask(gateway, "/", sends(Buffer.alloc(5 * MB, "x")))).status).toBe(200);
  });

  test("the request line and the headers' values may have 10,240 bytes together, else 431", async () => {
    const gateway = await behind(ok);
    const statusOf = async (bytes: number) => {
      const fixed = "GET /health HTTP/1.1".length + "localhost".length + "close".length;
      const long = "x".repeat(bytes - fixed);
      const socket = await open(
        gateway,
        `GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ${long}\r\nConnection: close\r\n\r\n`,
      );
      return (await text(socket)).split("\r\n", 1)[0];
    };
    expect(await statusOf(10_240)).toBe("HTTP/1.1 200 OK");
    expect(await statusOf(10_241)).toBe("HTTP/1.1 431 Request Header Fields Too Large");
    expect(await statusOf(50_000)).toBe("HTTP/1.1 431 Request Header Fields Too Large");
  });

  test("a client that asks first is told to go on, unless its body is too long", async () => {
    const gateway = await behind(({ body }) => ({ statusCode: 200, body }));
    const head = (length: number) =>
      `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: ${length}\r\n\r\n`;

    const socket = await open(gateway, head(5));
    const [asked] = await once(socket, "data");
    expect(String(asked)).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    socket.write("hello");
    expect(await text(socket)).toMatch(/^HTTP\/1.1 200 OK\r\n.*\r\n\r\nhello$/s);

    const refused = await open(gateway, head(10 * MB + 1));
    const [answer] = await once(refused, "data");
    expect(String(answer)).toMatch(/^HTTP\/1.1 413 /);
    refused.destroy();
  });

  test("what is no HTTP is refused, and the next request is served", async () => {
    const gateway = await behind(ok);
    expect(await text(await open(gateway, "hello\r\n\r\n"))).toMatch(/^HTTP\/1.1 400 /);
    const cut = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    expect(await text(await open(gateway, cut))).toMatch(/^HTTP\/1.1 400 /);
    expect((await ask(gateway)).status).toBe(200);
  });
});

const origin = "https://app.example.com";

describe("CORS", () => {
  const preflight = (from: string): Asked => ({
    method: "OPTIONS",
    headers: {
      Origin: from,
      "Access-Control-Request-Method": "POST",
      "Access-Control-Request-Headers": "idempotency-key",
    },
  });
  const corsOf = (headers: object) =>
    Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith("access-control-")));

  test("a preflight is answered by the gateway, with what lib/api/cors.ts allows", async () => {
    const health = vi.fn(ok);
    const gateway = await behind(health, { corsOrigins: [origin, "http://localhost:5173"] });
    const answer = await ask(gateway, "/api/chats/a/create", preflight(origin));
    expect(answer.status).toBe(204);
    expect(answer.headers).toMatchObject({
      "access-control-allow-origin": origin,
      "access-control-allow-methods": "GET,POST,PUT,DELETE",
      "access-control-allow-headers":
        "authorization,content-type,idempotency-key,x-operation-id,prefer,if-none-match," +
        "traceparent,tracestate,baggage,sentry-trace,x-requested-with",
      "access-control-max-age": "86400",
    });
    expect(health).not.toHaveBeenCalled();
  });

  test("a preflight of a strange origin is answered without a word of CORS", async () => {
    const gateway = await behind(ok, { corsOrigins: [origin] });
    for (const strange of ["https://app.example.com.evil.example", "http://app.example.com", "null"]) {
      const { status, headers } = await ask(gateway, "/health", preflight(strange));
      expect(status).toBe(204);
      expect(corsOf(headers)).toEqual({});
    }
  });

  test("OPTIONS that is no preflight goes to the $default function", async () => {
    const gateway = await behind(({ routeKey }) => routeKey);
    const answer = await ask(gateway, "/health", { method: "OPTIONS", headers: { Origin: origin } });
    expect(answer.body.toString()).toBe("$default");
  });

  test("an answer tells an allowed origin that it is, and which headers it may read", async () => {
    const gateway = await behind(ok, { corsOrigins: [origin] });
    const { headers } = await ask(gateway, "/health", { headers: { Origin: origin } });
    expect(corsOf(headers)).toEqual({
      "access-control-allow-origin": origin,
      "access-control-expose-headers":
        "x-operation-id,retry-after,ratelimit-limit,ratelimit-remaining,ratelimit-reset,x-ratelimit-mode," +
        "idempotent-replayed,etag,content-disposition,date,location,preference-applied",
    });
    expect(corsOf((await ask(gateway, "/health", { headers: { Origin: "https://evil.example" } })).headers)).toEqual(
      {},
    );
    expect(corsOf((await ask(gateway)).headers)).toEqual({});
  });

  test.each([
    [["*"], "https://any.example", "*"],
    [["https://*"], "https://any.example", "https://any.example"],
    [["https://*"], "http://any.example", undefined],
    [["https://app.example.com/"], origin, origin],
    [["HTTPS://App.Example.COM"], origin, origin],
    [["https://app.example.com:443"], origin, origin],
    [["http://localhost:3000/"], "http://localhost:3000", "http://localhost:3000"],
    [["http://[::1]:80"], "http://[::1]", "http://[::1]"],
    [["https://bücher.example"], "https://xn--bcher-kva.example", "https://xn--bcher-kva.example"],
    [["capacitor://localhost"], "capacitor://localhost", "capacitor://localhost"],
    [["Ionic://LOCALHOST/"], "ionic://localhost", "ionic://localhost"],
    [["chrome-extension://abcdefgh"], "chrome-extension://abcdefgh", "chrome-extension://abcdefgh"],
    [["https://app.example.com:8443"], origin, undefined],
  ])("of the origins %j, %s may read as %s", async (corsOrigins, from, allowed) => {
    const { headers } = await ask(await behind(ok, { corsOrigins }), "/health", { headers: { Origin: from } });
    expect(headers["access-control-allow-origin"]).toBe(allowed);
  });

  test("a function's own CORS headers are lost", async () => {
    const theirs = { "Access-Control-Allow-Origin": "*", "access-control-allow-credentials": "true", "x-kept": "1" };
    const gateway = await behind(() => ({ statusCode: 200, headers: theirs }), { corsOrigins: [origin] });
    const { headers } = await ask(gateway);
    expect(corsOf(headers)).toEqual({});
    expect(headers["x-kept"]).toBe("1");
  });

  test("the gateway's own errors can be read by an allowed origin too", async () => {
    muted();
    const gateway = await behind(() => Promise.reject(new Error("broken")), { corsOrigins: [origin] });
    const { status, headers } = await ask(gateway, "/health", { headers: { Origin: origin } });
    expect(status).toBe(500);
    expect(headers["access-control-allow-origin"]).toBe(origin);
  });
});

describe("connections", () => {
  test("are kept for the next request, whatever the last one was", async () => {
    const gateway = await behind(ok);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sockets = new Set<unknown>();
    agent.on("free", (socket) => sockets.add(socket));
    for (const method of ["GET", "POST", "HEAD", "OPTIONS", "DELETE"]) {
      const { headers } = await ask(gateway, "/", { method, agent, ...(method === "POST" ? { body: "x" } : {}) });
      expect(headers.connection).toBe("keep-alive");
    }
    agent.destroy();
    expect(sockets.size).toBe(1);
  });

  test("that idle are closed at once when it stops; what runs may end; nobody else gets in", async () => {
    const entered = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const gateway = await behind(async () => {
      entered.resolve();
      await release.promise;
      return { statusCode: 200, body: "finished" };
    });
    const silent = await open(gateway);
    const halfAsked = await open(gateway, "GET /hea");
    const agent = new Agent({ keepAlive: true });
    const running = ask(gateway, "/health", { agent });
    await entered.promise;

    const stopped = gateway.stop();
    await Promise.all([once(silent, "close"), once(halfAsked, "close")]);
    await expect(ask(gateway)).rejects.toThrow("ECONNREFUSED");
    release.resolve();
    const answer = await running;
    expect(answer.body.toString()).toBe("finished");
    expect(answer.headers.connection).toBe("close");
    await stopped;
    await gateway.stop(); // twice is fine
    agent.destroy();
  });

  test("that never end do not keep it from stopping", async () => {
    const entered = Promise.withResolvers<void>();
    const gateway = await behind(() => {
      entered.resolve();
      return new Promise(() => {});
    });
    const running = ask(gateway);
    const cutOff = expect(running).rejects.toThrow("socket hang up");
    await entered.promise;
    await gateway.stop();
    await cutOff;
  });
});

describe("as a process", () => {
  const file = new URL("../dev/gateway.ts", import.meta.url);

  test("it says where it listens, takes its origins from the environment, and its functions log to stdout", async () => {
    const logged = Promise.withResolvers<string>();
    const env = { ...process.env, PORT: "none", CORS_ORIGINS: "https://a.example, https://b.example" };
    const args = ["--port", "0"]; // before PORT
    const child = await startChild<{ url: string }>(file, { args, env, onStdout: logged.resolve });
    const gateway = { url: child.about.url, stop: child.stop };

    const { status, headers } = await ask(gateway, "/health", { headers: { Origin: "https://b.example" } });
    expect(status).toBe(200);
    expect(headers["access-control-allow-origin"]).toBe("https://b.example");
    expect(JSON.parse(await logged.promise)).toMatchObject({ operation: "health", status: 200 });
    await child.stop();
    await expect(ask(gateway)).rejects.toThrow("ECONNREFUSED");
  });

  test("it allows the headers of CORS_HEADERS too; an origin that can never match is said in one line", async () => {
    const env = { ...process.env, PORT: "0", CORS_HEADERS: "X-App-Version, x-tenant" };
    const child = await startChild<{ url: string }>(file, { env });
    const asked = { Origin: origin, "Access-Control-Request-Method": "POST" };
    const { headers } = await ask({ url: child.about.url, stop: child.stop }, "/x", {
      method: "OPTIONS",
      headers: asked,
    });
    expect(headers["access-control-allow-headers"]).toMatch(/,x-requested-with,x-app-version,x-tenant$/);
    await child.stop();
    const { code, stderr } = await tool(
      "gateway",
      [],
      { ...env, CORS_ORIGINS: "https://a.example/app" },
      "dev/local.ts",
    );
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^Gateway: CORS_ORIGINS: Entry 1 can never match: .*\n$/),
    ]);
    expect(stderr).not.toContain("a.example");
  });

  test("a port in use is one clear line, and so is what is no port", async () => {
    const { url } = await aGateway();
    const { port } = new URL(url);
    await expect(startGateway({ port: Number(port) })).rejects.toMatchObject({ code: "EADDRINUSE" });
    await expect(startChild(file, { env: { ...process.env, PORT: port } })).rejects.toThrow(
      `gateway ended (exit code 1): Gateway: port ${port} is in use; choose another with PORT or --port`,
    );
    await expect(startChild(file, { args: ["--port", "http"] })).rejects.toThrow("--port must be a whole number");
  });
});
