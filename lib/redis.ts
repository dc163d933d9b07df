import { type Pipeline, Redis } from "@upstash/redis";
import { config } from "./config.ts";

const timeoutMs = 500;
const failuresUntilOpen = 3;
const openMs = 10_000;

/** Redis gave no answer, or was not asked, because it has failed three times in a row within the last ten seconds. */
class RedisAway extends Error {
  override name = "RedisAway";
  /** Whatever a request asks of Redis, and how often: that it is away is one warning. */
  readonly subject = "redis";
}

interface Waiting {
  add: (pipeline: Pipeline<[]>) => void;
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

let client: Redis | undefined;
let waiting: Waiting[] = [];
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

function enqueue<T>(add: Waiting["add"]): Promise<T> {
  if (Date.now() < openUntil) return Promise.reject(new RedisAway("Left alone after three failures"));

  return new Promise<T>((resolve, reject) => {
    waiting.push({ add, resolve: resolve as (result: unknown) => void, reject });
    if (waiting.length === 1) setImmediate(flush);
  });
}

async function flush(): Promise<void> {
  const batch = waiting;
  waiting = [];
  try {
    client ??= connect();
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
    const failure = new RedisAway("No answer", { cause: error });
    for (const { reject } of batch) reject(failure);
  }
}

function connect(): Redis {
  return new Redis({
    url: config().UPSTASH_REDIS_REST_URL,
    token: config().UPSTASH_REDIS_REST_TOKEN,
    retry: { retries: 0 }, // `false` would still try twice
    signal: () => AbortSignal.timeout(timeoutMs), // a plain signal that fires resolves null instead of throwing
    automaticDeserialization: false, // what we cache is sent on as it is
    responseEncoding: false,
    enableTelemetry: false,
    enableAutoPipelining: false,
  });
}
