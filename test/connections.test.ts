import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeEach, expect, it, vi } from "vitest";
import { Connections } from "../lib/http.ts";

const sockets: Socket[] = [];
const server = createServer(async (request, response) => {
  const body = await text(request);
  if (request.url === "/hang") return;
  if (request.url === "/gzip") return void response.setHeader("content-encoding", "gzip").end(gzipSync("Grüße"));
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
const ask = (connections: Connections, path = "/", signal = new AbortController().signal) =>
  connections.ask(url + path, { method: "POST", headers: {}, body: "hello", signal });

it("a connection is used again within its idle time, and never after, though nobody has said that it is gone", async () => {
  const connections = new Connections(idleMs);
  expect(await ask(connections)).toMatchObject({ status: 201, body: "POST hello" });
  vi.setSystemTime(Date.now() + idleMs);
  await ask(connections);
  expect(sockets).toHaveLength(1);
  vi.setSystemTime(Date.now() + idleMs + 1); // a freeze: no timer has run meanwhile
  await ask(connections);
  expect(sockets).toHaveLength(2);
});

it("a request that is under way for longer keeps its connection", async () => {
  const connections = new Connections(idleMs);
  const stop = new AbortController();
  const long = ask(connections, "/hang", stop.signal);
  await vi.waitFor(() => expect(sockets).toHaveLength(1));
  vi.setSystemTime(Date.now() + 10 * idleMs);
  await ask(connections);
  stop.abort();
  await expect(long).rejects.toMatchObject({ name: "AbortError" });
});

it("reads what comes compressed", async () => {
  expect(await ask(new Connections(idleMs), "/gzip")).toMatchObject({ status: 200, body: "Grüße" });
});

it("says by its code that there was nobody to connect to", async () => {
  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const signal = new AbortController().signal;
  const asked = new Connections(idleMs).ask(`http://127.0.0.1:${port}`, { method: "GET", headers: {}, signal });
  await expect(asked).rejects.toMatchObject({ code: "ECONNREFUSED" });
});
