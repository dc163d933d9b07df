import { sweep } from "../lib/chat/sweep.ts";
import { CallLog } from "../lib/logger.ts";

/** Runs by the clock: settles what nobody came back for. Two at once do no harm. */
export async function handler(_event?: unknown, context?: { getRemainingTimeInMillis(): number }) {
  const started = performance.now();
  const log = new CallLog();
  const operationId = crypto.randomUUID();
  Object.assign(log.fields, { operationId, operation: "sweep" });

  const until = Date.now() + (context?.getRemainingTimeInMillis() ?? 120_000) - 25_000; // what has begun may take 20 s
  const swept = await sweep({ until, perSubaccount: 100 }, operationId);
  log.info("Swept", { ...swept, duration: Math.round(performance.now() - started) });
  return swept;
}
