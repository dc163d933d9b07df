import { Ratelimit } from "@upstash/ratelimit";
import type { Redis } from "@upstash/redis";
import { config, routeLimitSetting } from "../platform/config.ts";
import { Lru } from "../platform/lru.ts";
import { key, redis } from "../platform/redis.ts";

/** How often something may happen: `perSeconds` is the sliding window. */
export interface Limit {
  name: string;
  requests: number;
  perSeconds: number;
}

export interface LimitResult {
  success: boolean;
  limit: number;
  remaining: number;
  /** Epoch ms at which the window ends; once the limit is exceeded, at which one more request will pass. */
  reset: number;
  /** Why Redis was not asked or did not answer: then this instance counts by itself, a tenth of the limit. */
  degraded?: unknown;
}

/** Over all endpoints together, per user. */
export const userLimit = (): Limit => ({ name: "user", requests: config().RATE_LIMIT_USER, perSeconds: 60 });

/** An endpoint's own limit, per subaccount. RATE_LIMIT_<NAME> overrides the number of requests in the route table. */
export function routeLimit(route: { name: string; limit?: Omit<Limit, "name"> }): Limit | undefined {
  if (!route.limit) return undefined;
  const { requests, perSeconds } = route.limit;
  return { name: route.name, requests: config().ROUTE_LIMITS[routeLimitSetting(route.name)] ?? requests, perSeconds };
}

const limiters = new Map<string, Ratelimit>();

/** Who is over a limit, and until when. */
const refusals = new Lru<LimitResult>(10_000);

/** The count that refused this id last, as long as one more request would be refused too; no I/O. */
export function knownRefusal(rule: Limit, id: string): LimitResult | undefined {
  const last = refusals.get(`${rule.name}:${id}`);
  return last && last.reset > Date.now() ? last : undefined;
}

/** Counts one request against a rule. Never rejects, and is never unlimited: without Redis each instance counts. */
export async function countRequest(rule: Limit, id: string): Promise<LimitResult> {
  try {
    const { success, limit, remaining, reset } = await limiterFor(rule).limit(id);
    if (success) return { success, limit, remaining, reset };
    const refused = { success, limit, remaining, reset: await retryAt(rule, id, reset) };
    refusals.set(`${rule.name}:${id}`, refused);
    return refused;
  } catch (error) {
    return { ...countLocally(rule, id), degraded: error ?? "failed" };
  }
}

/**
 * When one more request will pass, by the counts that refused this one. The window slides, so that is mostly long before
 * it ends: of what was counted in the minute before, less and less weighs.
 *
 * @see @upstash/ratelimit, Ratelimit.slidingWindow: its keys, and what it compares
 */
async function retryAt({ name, requests, perSeconds }: Limit, id: string, windowEnd: number): Promise<number> {
  const windowMs = perSeconds * 1_000;
  const window = Math.round(windowEnd / windowMs) - 1;
  const counters = [window, window - 1].map((number) => key("limit", name, id, String(number)));
  const counted = await redis.mget(counters).catch(() => undefined);
  if (!counted) return windowEnd;
  const [current = 0, before = 0] = counted.map(Number);
  const [start, weighing, room] =
    current < requests ? [windowEnd - windowMs, before, requests - current] : [windowEnd, current, requests];
  return start + windowMs * (1 - room / weighing); // until then all the room is taken by them
}

function limiterFor(rule: Limit): Ratelimit {
  const known = limiters.get(rule.name);
  if (known) return known;
  const limiter = new Ratelimit({
    // Ours sends what is counted together with everything else that the request asks of Redis.
    redis: redis as unknown as Redis,
    limiter: Ratelimit.slidingWindow(rule.requests, `${rule.perSeconds} s`),
    prefix: key("limit", rule.name),
    ephemeralCache: false, // it grows without bound, and the request goes to Redis anyhow
    timeout: 0, // its own timeout lets everybody pass; ours is in redis.ts and leads to countAlone
  });
  limiters.set(rule.name, limiter);
  return limiter;
}

const localWindows = new Lru<{ used: number; reset: number }>(10_000);

function countLocally(rule: Limit, id: string): LimitResult {
  const limit = Math.max(1, Math.floor(rule.requests / 10));
  const name = `${rule.name}:${id}`;
  const now = Date.now();
  const current = localWindows.get(name);
  const window = current && current.reset > now ? current : { used: 0, reset: now + rule.perSeconds * 1_000 };
  window.used += 1;
  localWindows.set(name, window);
  return { success: window.used <= limit, limit, remaining: Math.max(0, limit - window.used), reset: window.reset };
}
