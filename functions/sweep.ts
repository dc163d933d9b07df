import type { Context } from "aws-lambda";
import { sweep } from "../lib/chat/sweep/sweep.ts";
import { sweepReserveMs } from "../lib/chat/timing.ts";
import { RequestLog } from "../lib/platform/logger.ts";
import { drainSocketEvents, isUnreachable } from "../lib/platform/mongo.ts";

/** Runs every minute and handles what requests and webhooks missed. Two runs at once do no harm. */
export async function handler(_event?: unknown, context?: Context) {
  const started = performance.now();
  const elapsed = () => Math.round(performance.now() - started);
  const operationId = crypto.randomUUID();
  const log = new RequestLog({ operationId, requestId: context?.awsRequestId, operation: "sweep" });

  const until = Date.now() + (context?.getRemainingTimeInMillis() ?? 120_000) - sweepReserveMs;
  try {
    await drainSocketEvents();
    const swept = await sweep({ until, perSubaccount: 100 }, log);
    log.info("Swept", { ...swept, duration: elapsed() });
    log.metrics.add("Sweeps");
    log.metrics.put("OldestOpenTurn", swept.oldestOpenSeconds);
    log.metrics.put("SubaccountsSwept", swept.subaccounts);
    log.metrics.put("SubaccountsFailing", swept.failing);
    return swept;
  } catch (error) {
    if (isUnreachable(error)) log.metrics.add("MongoFailures");
    log.error("The sweep failed", error, { duration: elapsed() });
    throw new Error(`The sweep failed; its operationId is ${operationId}`); // Lambda logs what is thrown, so not the error itself
  } finally {
    log.writeMetrics(elapsed());
  }
}
