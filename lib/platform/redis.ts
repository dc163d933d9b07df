import { type Pipeline, Redis, type Requester } from "@upstash/redis";
import { config } from "./config.ts";
import { HttpClient } from "./http.ts";

const timeoutMs = 500;
const failuresUntilOpen = 3;
const openMs = 10_000;
/** The load balancers of AWS keep an idle connection for 60 s. */
const idleMs = 30_000;

/** Redis gave no answer, or was not asked, because it has failed three times in a row within the last ten seconds. */
class RedisUnavailable extends Error {
  override name = "RedisUnavailable";
  /** Whatever a request asks of Redis, and how often: that it is away is one warning. */
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
 * Upstash over HTTP. What is asked in one turn of the event loop travels in one request, so that rules written
 * apart (two limits, a permission, a cache read) cost one round trip together.
 *
 * Every call may reject: Redis down, slower than 500 ms, answering garbage, or left alone for 10 s after three
 * failures. Callers say what they do then; nothing here retries.
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

/** A key as it stands in Redis. The stage comes first: stages may share a database, and so may the old server. */
export function key(...parts: string[]): string {
  return [config().STAGE, ...parts].join(":");
}

function enqueue<T>(add: QueuedCommand["add"]): Promise<T> {
  if (Date.now() < openUntil) return Promise.reject(new RedisUnavailable("Left alone after three failures"));

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
      else reject(new Error(error)); // NOSCRIPT is one of these: @upstash/ratelimit looks for it in the text
    }
  } catch (error) {
    failures += 1;
    if (failures >= failuresUntilOpen) openUntil = Date.now() + openMs;
    const failure = new RedisUnavailable("No answer", { cause: error });
    for (const { reject } of batch) reject(failure);
  }
}

/** The SDK's commands, whose answers stay as they are: what we cache is sent on unread. */
class Commands extends Redis {
  protected override opts = { automaticDeserialization: false };
}

/**
 * How commands travel. The SDK's own way is fetch, twice at least, over connections of unknown age (see http.ts); this
 * asks once, and gives up after 500 ms.
 */
function requester(): Requester {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = config();
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const connections = new HttpClient(idleMs);
  let syncToken = ""; // of an Upstash Global database: whoever reads has what was written before
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
