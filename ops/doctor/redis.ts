import { key, redis } from "../../lib/platform/redis.ts";
import { errorName } from "../failure.ts";
import { type Finding, ok, wrong } from "./finding.ts";

/** A request that waits longer goes on without Redis. */
const slowMs = 500;

/** Whether Redis can be written and read, and the median of five round trips. */
export async function redisAnswers(): Promise<Finding> {
  try {
    const name = key("doctor", crypto.randomUUID());
    await redis.set(name, "well", 10);
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const asked = performance.now();
      if ((await redis.get(name)) !== "well") throw new Error("It does not return what was written");
      times.push(performance.now() - asked);
    }
    const median = Math.round(times.sort((a, b) => a - b)[2] ?? 0);
    if (median < slowMs / 5) return ok("Redis", `${median} ms`);
    const fix = `use a database in the functions' region: above ${slowMs} ms they go on without it`;
    return wrong("Redis", `${median} ms`, fix);
  } catch (error) {
    const fix = "UPSTASH_REDIS_REST_URL and _TOKEN: those of the REST API, and not the read-only token";
    return wrong("Redis", redisCode(error) ?? errorName(error), fix);
  }
}

/** The code of an error that Redis itself returned, as NOPERM. The rest of its message may contain the command. */
function redisCode(error: unknown): string | undefined {
  return /^[A-Z]{3,20}(?= )/.exec(error instanceof Error ? error.message : "")?.[0];
}
