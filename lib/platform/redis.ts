import { type Pipeline, Redis, type Requester } from "@upstash/redis";
import { config } from "./config.ts";
import { HttpClient } from "./http.ts";

const timeoutMs = 500;
const failuresUntilOpen = 3;
const openMs = 10_000;
/** Less than the 60 s for which the load balancers of AWS keep an idle connection. */
const idleMs = 30_000;

/** Redis did not answer, or was not asked because the circuit is open. */
export class RedisUnavailable extends Error {
  override name = "RedisUnavailable";
  /** A request logs one warning about Redis, however many of its commands fail. */
  readonly subject = "redis";
}

interface QueuedCommand {
  add: (pipeline: Pipeline<[]>) => void;
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

let client: Redis | undefined;
let queue: QueuedCommand[] = [];
let failures = 0;
let openUntil = 0;

/**
 * Upstash over HTTP. The commands of one tick of the event loop are sent in one request, so that two limits, a permission
 * and a cache read take one round trip.
 *
 * Every command may reject with RedisUnavailable: when Redis is down, slower than 500 ms, or answers something else.
 * After three failures in a row the circuit is open for 10 s. Nothing is retried. The circuit is simpler than that of
 * retell/breaker.ts, which counts chats and lets one call through: sharing it would take more code than it saves.
 */
export const redis = {
  get: (key: string) => enqueue<string | null>((pipeline) => pipeline.get(key)),
  mget: (keys: string[]) => enqueue<(string | null)[]>((pipeline) => pipeline.mget(...keys)),
  set: (key: string, value: string, ttlSeconds: number) =>
    enqueue<unknown>((pipeline) => pipeline.set(key, value, { ex: ttlSeconds })),
  del: (key: string) => enqueue<number>((pipeline) => pipeline.del(key)),
  eval: <T>(script: string, keys: string[], args: unknown[]) =>
    enqueue<T>((pipeline) => pipeline.eval(script, keys, args)),
  evalsha: <T>(sha: string, keys: string[], args: unknown[]) =>
    enqueue<T>((pipeline) => pipeline.evalsha(sha, keys, args)),
};

/** A key in Redis. It begins with the stage, because stages and the old server may share a database. */
export function key(...parts: string[]): string {
  return [config().STAGE, ...parts].join(":");
}

function enqueue<T>(add: QueuedCommand["add"]): Promise<T> {
  if (Date.now() < openUntil) return Promise.reject(new RedisUnavailable("Circuit open after three failures"));

  return new Promise<T>((resolve, reject) => {
    queue.push({ add, resolve: resolve as (result: unknown) => void, reject });
    if (queue.length === 1) setImmediate(flush);
  });
}

async function flush(): Promise<void> {
  const batch = queue;
  queue = [];
  try {
    client ??= new Commands(requester());
    const pipeline = client.pipeline();
    for (const { add } of batch) add(pipeline);
    const results = await pipeline.exec({ keepErrors: true });
    if (!Array.isArray(results) || results.length !== batch.length) throw new Error("Upstash answered something else");

    failures = 0;
    for (const [i, { resolve, reject }] of batch.entries()) {
      const { result, error } = results[i] as { result?: unknown; error?: string };
      if (error === undefined) resolve(result);
      else reject(new Error(error)); // @upstash/ratelimit looks for NOSCRIPT in the message
    }
  } catch (error) {
    failures += 1;
    if (failures >= failuresUntilOpen) openUntil = Date.now() + openMs;
    const failure = new RedisUnavailable("No answer", { cause: error });
    for (const { reject } of batch) reject(failure);
  }
}

/** The SDK's commands without deserialization, because cached answers are sent as they are. */
class Commands extends Redis {
  protected override opts = { automaticDeserialization: false };
}

/**
 * Sends commands once, for 500 ms at most. The SDK itself uses fetch, which does not check the age of connections (see
 * http.ts), and tries at least twice.
 */
function requester(): Requester {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = config();
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const connections = new HttpClient(idleMs);
  let syncToken = ""; // of an Upstash Global database, so that a read sees earlier writes
  return {
    async request({ path = [], body }) {
      const answer = await connections.request([url.replace(/\/$/, ""), ...path].join("/"), {
        method: "POST",
        headers: { ...headers, "upstash-sync-token": syncToken },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(timeoutMs),
      });
      const { status } = answer;
      if (status !== 200) throw Object.assign(new Error(`Upstash answered with ${status}`), { status });
      syncToken = String(answer.headers["upstash-sync-token"] ?? "");
      return JSON.parse(answer.body);
    },
  };
}
