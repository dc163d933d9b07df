import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { HttpClient, wasNotSent } from "../lib/platform/http.ts";
import { identity, trustIdentity } from "./support/tls.ts";

const sockets: Socket[] = [];
const server = createServer(async (request, response) => {
  const body = await text(request);
  if (request.url === "/hang") return;
  if (request.url === "/gzip") return void response.setHeader("content-encoding", "gzip").end(gzipSync("Grüße"));
  if (request.url?.startsWith("/empty/")) {
    return void response.setHeader("content-encoding", request.url.slice(7)).end();
  }
  if (request.url?.startsWith("/half")) {
    response.writeHead(Number(request.url.slice(5)), { "content-length": 10, "retry-after": "7" });
    return void response.write("half", () => request.socket.destroy());
  }
  response.statusCode = 201;
  response.end(`${request.method} ${body}`);
}).on("connection", (socket: Socket) => sockets.push(socket));
server.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
afterAll(() => server.close());

beforeEach(() => {
  sockets.length = 0;
  vi.useFakeTimers({ toFake: ["Date"] });
});
afterEach(() => vi.useRealTimers());

const idleMs = 4_000;
const ask = (connections: HttpClient, path = "/", signal = new AbortController().signal, address = url) =>
  connections.request(address + path, { method: "POST", headers: {}, body: "hello", signal });

it("a connection is used again within its idle time, and never after, though nobody has said that it is gone", async () => {
  const connections = new HttpClient(idleMs);
  expect(await ask(connections)).toMatchObject({ status: 201, body: "POST hello" });
  vi.setSystemTime(Date.now() + idleMs);
  await ask(connections);
  expect(sockets).toHaveLength(1);
  vi.setSystemTime(Date.now() + idleMs + 1); // a freeze: no timer has run meanwhile
  await ask(connections);
  expect(sockets).toHaveLength(2);
});

it("a request that is under way for longer keeps its connection", async () => {
  const connections = new HttpClient(idleMs);
  const stop = new AbortController();
  const long = ask(connections, "/hang", stop.signal);
  await expect.poll(() => sockets).toHaveLength(1);
  vi.setSystemTime(Date.now() + 10 * idleMs);
  await ask(connections);
  stop.abort();
  await expect(long).rejects.toMatchObject({ name: "AbortError" });
});

it("reads what comes compressed", async () => {
  expect(await ask(new HttpClient(idleMs), "/gzip")).toMatchObject({ status: 200, body: "Grüße" });
});

it.each(["gzip", "deflate", "br", "zstd", "none"])(
  "reads nothing where there is nothing, encoded or not (%s)",
  async (encoding) => {
    expect(await ask(new HttpClient(idleMs), `/empty/${encoding}`)).toMatchObject({ status: 200, body: "" });
  },
);

it.each([429, 201])("status and headers of a %i count, though its body was cut off", async (status) => {
  const answer = await ask(new HttpClient(idleMs), `/half${status}`);
  expect([answer.status, answer.headers["retry-after"]]).toEqual([status, "7"]);
  expect(() => answer.body).toThrow("aborted");
});

/** Starts a server for one test; its port. */
async function portOf(other: Server): Promise<number> {
  const open: Socket[] = [];
  other.on("connection", (socket: Socket) => open.push(socket.on("error", () => {})));
  other.listen(0, "127.0.0.1");
  await once(other, "listening");
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    other.close();
  });
  return (other.address() as AddressInfo).port;
}

const failureOf = (address: string) =>
  ask(new HttpClient(idleMs), "", new AbortController().signal, address).then(
    () => undefined,
    (error) => error,
  );

/** Takes whatever comes, and does this with the connection once something has. */
const onFirstBytes = (act: (socket: Socket) => void) =>
  createTcpServer((socket) => void socket.once("data", () => act(socket)));

describe("a request was surely not sent", () => {
  it("where nobody listens; the code says so", async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const failure = await failureOf(`http://127.0.0.1:${port}`);
    expect(failure).toMatchObject({ code: "ECONNREFUSED" });
    expect(wasNotSent(failure)).toBe(true);
    expect(wasNotSent(new Error("As the SDK tells it", { cause: failure }))).toBe(true);
  });

  it.each<[string, () => Server]>([
    ["closes the connection", () => onFirstBytes((socket) => socket.end())],
    ["resets it", () => onFirstBytes((socket) => socket.resetAndDestroy())],
    ["speaks no TLS", () => onFirstBytes((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))],
    ["has a certificate that nobody trusts", () => createTlsServer(identity, () => expect.fail("It was sent"))],
  ])("where the other side of a TLS handshake %s", async (_what, make) => {
    const failure = await failureOf(`https://127.0.0.1:${await portOf(make())}`);
    expect(failure).toBeInstanceOf(Error);
    expect(wasNotSent(failure)).toBe(true);
  });

  it("where a TLS handshake does not end within 10 s", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const heard = Promise.withResolvers<void>();
    const failed = failureOf(`https://127.0.0.1:${await portOf(onFirstBytes(() => heard.resolve()))}`);
    await heard.promise;
    vi.advanceTimersByTime(10_000);
    const failure = await failed;
    expect(failure).toMatchObject({ code: "ERR_NOT_CONNECTED" });
    expect(wasNotSent(failure)).toBe(true);
  });
});

describe("a request may have been sent", () => {
  it.each(["http", "https"])("once there is a connection, new or used, whatever becomes of it (%s)", async (scheme) => {
    trustIdentity();
    const answers = [true, false, false];
    const make = scheme === "http" ? createServer : createTlsServer.bind(null, identity);
    const port = await portOf(
      make(async (request, response) => {
        await text(request);
        if (answers.shift()) response.end("done");
        else request.socket.destroy();
      }),
    );
    const connections = new HttpClient(idleMs);
    const asked = () => ask(connections, "", new AbortController().signal, `${scheme}://127.0.0.1:${port}`);
    await asked();
    for (const _ of ["over the connection of the first", "over one of its own"]) {
      const failure = await asked().catch((error) => error);
      expect(failure).toBeInstanceOf(Error);
      expect(wasNotSent(failure)).toBe(false);
    }
  });
});
