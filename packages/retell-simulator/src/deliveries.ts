import { createHmac } from "node:crypto";
import { request } from "node:http";
import { finished } from "node:stream";
import type { ChatEvent, Webhook } from "./schema.ts";

/** One attempt to deliver an event. It is over when it has a status or an error. */
export type Attempt = {
  id: string;
  key: string;
  chat_id: string;
  event: ChatEvent;
  /** From 1 to 1 + the retries. */
  attempt: number;
  /** By the simulator's clock; the time in the signature is the real one. */
  at: number;
  url: string;
  signature?: string;
  body: string;
  status?: number;
  /** "timeout", "dropped", "ECONNREFUSED"... */
  error?: string;
};

export type Outcome = Required<Pick<Attempt, "status">> | Required<Pick<Attempt, "error">>;

export const isSuccess = (outcome: Outcome) => "status" in outcome && outcome.status >= 200 && outcome.status < 300;

/** @see retell-sdk, lib/webhook_auth: `v=<ms>,d=<HMAC-SHA256 of the body and ms>` */
export function sign(body: string, { signingKeys }: Webhook, key: string): string {
  const ms = Date.now();
  return `v=${ms},d=${createHmac("sha256", signingKeys?.[0] ?? key)
    .update(`${body}${ms}`)
    .digest("hex")}`;
}

type PostOptions = { timeoutMs: number; signal: AbortSignal; onSent?: (() => void) | undefined };

/**
 * Posts over a connection of its own. Resolves when the response is complete or will not come. Never rejects.
 *
 * @param onSent   Called when the whole request has been sent.
 */
export function post({ url, body, signature = "" }: Attempt, options: PostOptions): Promise<Outcome> {
  const { timeoutMs, signal, onSent } = options;
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "x-retell-signature": signature,
  };
  return new Promise((resolve) => {
    const posting = request(url, { method: "POST", agent: false, signal, headers });
    let isAnswered = false;
    const timeout = setTimeout(() => posting.destroy(new Error("timeout")), timeoutMs);
    const finish = (outcome: Outcome) => {
      clearTimeout(timeout);
      resolve(outcome);
    };
    const fail = (error: NodeJS.ErrnoException) => finish({ error: error.code ?? error.message });

    posting.on("error", fail);
    posting.on("response", (response) => {
      isAnswered = true;
      const status = response.statusCode ?? 0;
      finished(response.resume(), (error) => (error ? fail(error) : finish({ status })));
    });
    // The connection can also close without an error, for example after a status 101 that was not asked for.
    posting.on("close", () => isAnswered || finish({ error: "no answer" }));
    if (onSent) posting.on("finish", onSent);
    posting.end(body);
  });
}
