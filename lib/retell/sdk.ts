import { createHash } from "node:crypto";
import Retell, { type APIPromise } from "retell-sdk";
import { config } from "../platform/config.ts";
import { HttpClient } from "../platform/http.ts";
import { parseExactly } from "../platform/json.ts";
import { Lru } from "../platform/lru.ts";
import type { Account } from "./account.ts";
import { CircuitBreaker } from "./breaker.ts";

/** By a digest of the API key: the account alone holds the key in clear, and it leaves memory with the account. */
const breakers = new Lru<CircuitBreaker>(1_000);
const sdks = new WeakMap<Account, Retell>();

/** An account's SDK and circuit breaker. Accounts with the same key share the breaker. */
export function clientFor(account: Account): { sdk: Retell; breaker: CircuitBreaker } {
  const { apiKey } = account;
  const digest = createHash("sha256").update(apiKey).digest("base64");
  const breaker = breakers.get(digest) ?? new CircuitBreaker();
  breakers.set(digest, breaker);
  const sdk =
    sdks.get(account) ??
    // Key and URL are always given: without them the SDK would read the environment.
    new Retell({ apiKey, baseURL: config().RETELL_BASE_URL, maxRetries: 0, logLevel: "off", fetch: fetchOnce });
  sdks.set(account, sdk);
  return { sdk, breaker };
}

/** The SDK's own timeout is 5 minutes for a completion and ends with the headers. The signal bounds the body too. */
export const requestOptions = (signal: AbortSignal) => ({ signal, timeout: 30_000 });

/** An answer's JSON. The SDK would round large integers, and would trust the content type that the answer claims. */
export async function jsonOf(request: APIPromise<unknown>): Promise<unknown> {
  const answer = await request.asResponse();
  return parseExactly(await answer.text());
}

/**
 * A send over a connection that Retell has closed may have arrived or not, and is not repeated. So no connection is used
 * that was idle for longer than any server would keep it. A new one costs two round trips.
 */
const http = new HttpClient(4_000);

/** In place of fetch, for the SDK. */
async function fetchOnce(url: string | URL | Request, init: RequestInit = {}): Promise<Response> {
  const answer = await http.request(String(url), {
    method: init.method ?? "GET",
    headers: { ...Object.fromEntries(new Headers(init.headers)), "accept-encoding": "gzip" },
    body: init.body as string | undefined, // the SDK sends JSON text
    signal: init.signal as AbortSignal, // every call passes one
  });
  const { status, headers } = answer;
  const body = status >= 200 && status < 300 ? answer.body : ""; // an error's body is not used
  const known = ["retry-after", "retry-after-ms"].flatMap((name) => {
    const value = headers[name];
    return typeof value === "string" ? [[name, value] as [string, string]] : [];
  });
  return new Response(body || null, { status, headers: known });
}
