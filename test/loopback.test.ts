import { request } from "node:http";
import { text } from "node:stream/consumers";
import { afterAll, describe, expect, it } from "vitest";
import { startGateway } from "../dev/gateway.ts";
import { startRetellSimulator } from "../packages/retell-simulator/src/index.ts";

const [gateway, retell] = await Promise.all([
  startGateway({ port: 0, corsOrigins: ["https://app.example"] }),
  startRetellSimulator(),
]);
afterAll(() => Promise.all([gateway, retell].map(({ stop }) => stop())));

/** fetch always sets the header Host itself. */
async function ask(
  url: string,
  headers: Record<string, string>,
  method = "GET",
): Promise<{ status: number; body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<import("node:http").IncomingMessage>();
  request(url, { headers, method }, resolve).on("error", reject).end();
  const response = await promise;
  return { status: response.statusCode ?? 0, body: await text(response) };
}

const services = [
  ["the gateway", `${gateway.url}/health`],
  ["the Retell simulator", `${retell.control}/clock`],
] as const;

describe.each(services)("%s", (_name, url) => {
  const { port } = new URL(url);

  it.each(["localhost", "LOCALHOST", "app.localhost", "127.0.0.1", "127.0.0.2", "[::1]"])(
    "serves what was asked of %s",
    async (host) => {
      for (const name of [host, `${host}:${port}`]) {
        expect((await ask(url, { host: name })).status).toBe(200);
      }
    },
  );

  it.each([
    "rebound.example",
    "127.0.0.1.rebound.example",
    "localhost.rebound.example",
    "localhost@rebound.example",
    "rebound.example@localhost",
    "notlocalhost",
    "0.0.0.0",
    "10.0.0.1",
    "[::2]",
    "localhost/",
  ])("refuses what was asked of %s", async (host) => {
    const { status, body } = await ask(url, { host });
    expect([status, body]).toEqual([403, expect.stringContaining("Host must be localhost")]);
  });

  it.each(["http://localhost:5173", "http://127.0.0.1:3000", "https://[::1]"])(
    "serves a page of %s",
    async (origin) => {
      expect((await ask(url, { origin })).status).toBe(200);
    },
  );

  it.each(["https://evil.example", "http://localhost.evil.example", "null", "", "file://", "localhost"])(
    "refuses a page of %s",
    async (origin) => {
      for (const method of ["GET", "POST"]) {
        const { status, body } = await ask(url, { origin }, method);
        expect([status, body]).toEqual([403, expect.stringContaining("Origin")]);
      }
    },
  );
});

it("the gateway serves pages of CORS_ORIGINS, and of all origins where that is *", async () => {
  expect((await ask(`${gateway.url}/health`, { origin: "https://app.example" })).status).toBe(200);
  const open = await startGateway({ port: 0, corsOrigins: ["*"] });
  expect((await ask(`${open.url}/health`, { origin: "https://any.example" })).status).toBe(200);
  expect((await ask(`${open.url}/health`, { host: "rebound.example" })).status).toBe(403);
  await open.stop();
});
