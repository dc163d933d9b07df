import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, inject } from "vitest";

// biome-ignore lint/suspicious/noExplicitAny: an answer of Retell, which tests read and change
type Json = any;

/** A proxy between the API and the Retell simulator that can delay calls and answers, and change answers. */
export interface Between {
  /** Called before a call (`/end-chat/chat_1`) is passed on. */
  before: (path: string) => unknown;
  /** Called with an answer before it is passed back. It may change the answer in place. */
  after: (path: string, answer: Json) => unknown;
  /** From now on everything passes unchanged. */
  heal(): void;
}

/**
 * Sets RETELL_BASE_URL to the proxy, which heals after each test. Call it before anything reads the configuration.
 */
export async function aRetellBetween(): Promise<Between> {
  const { RETELL_BASE_URL: target } = inject("environment");
  const nothing = { before: () => {}, after: () => {} };
  const between: Between = { ...nothing, heal: () => Object.assign(between, nothing) };

  async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url = "" } = request;
    const { authorization = "" } = request.headers;
    const body = await text(request);
    await between.before(url);
    const answered = await fetch(target + url, {
      method,
      headers: { authorization, "content-type": "application/json" },
      ...(body === "" ? {} : { body }),
    });
    const answer = await answered.text();
    const json = answer === "" ? undefined : JSON.parse(answer);
    await between.after(url, json);
    response.writeHead(answered.status, { "content-type": "application/json" }).end(json && JSON.stringify(json));
  }

  const server = createServer((request, response) => {
    forward(request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  afterEach(() => between.heal());
  afterAll(() => server.close());
  process.env.RETELL_BASE_URL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return between;
}
