import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, inject } from "vitest";

// biome-ignore lint/suspicious/noExplicitAny: whatever Retell answers; tests look into it and change it
type Json = any;

/** Stands between the API and the Retell simulator: holds up calls and answers, and changes answers. */
export interface Between {
  /** What to do before a call (`/end-chat/chat_1`) is passed on. */
  before: (path: string) => unknown;
  /** What to do with an answer before it is passed back; it may be changed in place. */
  after: (path: string, answer: Json) => unknown;
  /** From now on everything passes as it is. */
  heal(): void;
}

/** Its instance of the API finds it by the environment: to be called before anything reads the configuration. */
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
  afterAll(() => server.close());
  process.env.RETELL_BASE_URL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return between;
}
