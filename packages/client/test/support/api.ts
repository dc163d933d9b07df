import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import { type ClientOptions, createClient } from "../../src/index.ts";

/** A request as the server got it. */
export interface Got {
  method: string;
  /** Below the subaccount: `c1/message`. */
  path: string;
  headers: IncomingMessage["headers"];
  body: unknown;
}

/** What the server does with a request: an answer, or a cut connection. */
type Plain = { status?: number; headers?: Record<string, string>; body?: unknown } | "cut";
export type Reply = Plain | Promise<Plain>;

/** A success in the API's envelope. */
export const ok = (data: unknown, meta: object = {}, headers: Record<string, string> = {}): Plain => ({
  headers,
  body: { success: true, message: "OK", data, meta: { operationId: "op", duration: "1ms", ...meta } },
});

/** A refusal in the API's envelope. */
export const no = (status: number, code: string, more: object = {}, headers: Record<string, string> = {}): Plain => ({
  status,
  headers,
  body: { success: false, message: code, code, meta: { operationId: "op", duration: "1ms", operation: "x" }, ...more },
});

export const sent = (seq = 1): Plain =>
  ok({ chat_id: "c1", messages: [], user_message: { message_id: `m${seq}`, seq }, chat_status: "ongoing" });

/**
 * An API that gives these replies, one after another, and then the last one again and again. It stands for what a real
 * one does too rarely, or too slowly, to wait for; the tests in the project's own test folder use a real one.
 */
export async function anApi(...replies: (Reply | ((got: Got) => Reply))[]) {
  const got: Got[] = [];
  const server = createServer(async (request, response) => {
    const { method = "", url = "", headers } = request;
    const body = headers["content-type"] ? await json(request) : undefined;
    const one = { method, path: url.replace("/api/chats/s1/", ""), headers, body };
    got.push(one);
    const next = replies[Math.min(got.length, replies.length) - 1] as Reply | ((got: Got) => Reply);
    const reply = await (typeof next === "function" ? next(one) : next);
    if (reply === "cut") return request.socket.destroy();
    const text = typeof reply.body === "string" ? reply.body : JSON.stringify(reply.body);
    response.writeHead(reply.status ?? 200, reply.headers ?? {}).end(text);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = (options: Partial<ClientOptions> = {}) =>
    createClient({ baseUrl, subaccountId: "s1", token: "t1", ...options });
  return { baseUrl, got, client, keys: () => got.map(({ headers }) => headers["idempotency-key"]) };
}

/** A storage as `localStorage` is, with what it holds. */
export function aStorage() {
  const held = new Map<string, string>();
  return {
    held,
    getItem: (name: string) => held.get(name) ?? null,
    setItem: (name: string, value: string) => void held.set(name, value),
    removeItem: (name: string) => void held.delete(name),
  };
}
