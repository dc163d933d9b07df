import { Ratelimit } from "@upstash/ratelimit";
import type { Redis } from "@upstash/redis";
import { config, routeLimitSetting } from "../platform/config.ts";
import { Lru } from "../platform/lru.ts";
import { key, redis } from "../platform/redis.ts";

/** A rate limit with a sliding window of `perSeconds`. */
export interface Limit {
  name: string;
  requests: number;
  perSeconds: number;
}

export interface LimitResult {
  success: boolean;
  limit: number;
  remaining: number;
  /** Epoch ms at which the window ends; of a refused request, at which one more request will pass. */
  reset: number;
  /** Why Redis did not count. Then this instance counts by itself, and allows a tenth of the limit. */
  degraded?: unknown;
}

/** The limit per user, over all endpoints. */
export const userLimit = (): Limit => ({ name: "user", requests: config().RATE_LIMIT_USER, perSeconds: 60 });

/** An endpoint's own limit, per subaccount. RATE_LIMIT_<NAME> overrides the number of requests in the route table. */
export function routeLimit(route: { name: string; limit?: Omit<Limit, "name"> }): Limit | undefined {
  if (!route.limit) return undefined;
  const { requests, perSeconds } = route.limit;
  return { name: route.name, requests: config().ROUTE_LIMITS[routeLimitSetting(route.name)] ?? requests, perSeconds };
}

const limiters = new Map<string, Ratelimit>();

/** The last refusal of each id, by limit. */
const refusals = new Lru<LimitResult>(10_000);

/** The last refusal of an id, if this instance knows that one more request would be refused as well. No I/O. */
export function knownRefusal(limit: Limit, id: string): LimitResult | undefined {
  const last = refusals.get(`${limit.name}:${id}`);
  return last && last.reset > Date.now() ? last : undefined;
}

/** Counts one request against a limit. Never rejects. While Redis is away, each instance counts by itself. */
export async function countRequest(limit: Limit, id: string): Promise<LimitResult> {
  try {
    const { success, remaining, reset } = await limiterFor(limit).limit(id);
    const result = { success, limit: limit.requests, remaining };
    if (success) return { ...result, reset };
    const refused = { ...result, reset: await retryAt(limit, id, reset) };
    refusals.set(`${limit.name}:${id}`, refused);
    return refused;
  } catch (error) {
    return { ...countLocally(limit, id), degraded: error ?? "failed" };
  }
}

/**
 * When one more request will pass. The library's `reset` is the end of the fixed window, which is wrong for a client in
 * both directions: the previous window's count weighs less every second, so a request mostly passes earlier; and a full
 * window still weighs when it has become the previous one, so a request may be refused after `reset`.
 *
 * @see @upstash/ratelimit, Ratelimit.slidingWindow: its keys, and what it compares
 */
async function retryAt({ name, requests, perSeconds }: Limit, id: string, windowEnd: number): Promise<number> {
  const windowMs = perSeconds * 1_000;
  const window = Math.round(windowEnd / windowMs) - 1;
  const counters = [window, window - 1].map((number) => key("limit", name, id, String(number)));
  const counted = await redis.mget(counters).catch(() => undefined);
  if (!counted) return windowEnd;
  const [current = 0, previous = 0] = counted.map(Number);
  const [start, weighing, room] =
    current < requests ? [windowEnd - windowMs, previous, requests - current] : [windowEnd, current, requests];
  return start + windowMs * (1 - room / weighing);
}

function limiterFor(limit: Limit): Ratelimit {
  const known = limiters.get(limit.name);
  if (known) return known;
  const limiter = new Ratelimit({
    // Our client has the commands that the limiter uses, and sends them in one request with all others.
    redis: redis as unknown as Redis,
    limiter: Ratelimit.slidingWindow(limit.requests, `${limit.perSeconds} s`),
    prefix: key("limit", limit.name),
    ephemeralCache: false, // it is unbounded; `knownRefusal` does its work
    timeout: 0, // after its own timeout it allows the request; ours is in redis.ts and leads to countLocally
  });
  limiters.set(limit.name, limiter);
  return limiter;
}

const localWindows = new Lru<{ used: number; reset: number }>(10_000);

function countLocally(limit: Limit, id: string): LimitResult {
  const requests = Math.max(1, Math.floor(limit.requests / 10));
  const name = `${limit.name}:${id}`;
  const now = Date.now();
  const current = localWindows.get(name);
  const window = current && current.reset > now ? current : { used: 0, reset: now + limit.perSeconds * 1_000 };
  window.used += 1;
  localWindows.set(name, window);
  const remaining = Math.max(0, requests - window.used);
  return { success: window.used <= requests, limit: requests, remaining, reset: window.reset };
}
