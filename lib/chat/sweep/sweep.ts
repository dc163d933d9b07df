import { requeueOverdue } from "../../jobs/sweep.ts";
import type { RequestLog } from "../../platform/logger.ts";
import { sweepDueChats } from "./due.ts";
import { searchOrphans } from "./orphans.ts";
import { type SweepBounds, type SweepResult, type SweepRun, withTenant } from "./run.ts";
import { stageJudgedFrom } from "./stage-mark.ts";
import { subaccountsRoundRobin } from "./subaccounts.ts";

/**
 * Handles the chats that are due: settles open turns, finds chats that ended at Retell, fetches analysis and cost that
 * come late. Then ends orphans. Any number of sweeps may run at once, as each chat is claimed.
 *
 * Subaccounts are visited round robin, across runs. An account that answers 429, or fails to answer five times in a
 * row, is skipped until the next run.
 */
export async function sweep(bounds: SweepBounds, log: RequestLog): Promise<SweepResult> {
  const result: SweepResult = {
    subaccounts: 0,
    settled: 0,
    orphansEnded: 0,
    failed: 0,
    paused: 0,
    failing: 0,
    oldestOpenSeconds: 0,
  };
  // Due chats come first. A quarter of the time is kept for orphans, however many chats are due.
  const until = bounds.until - Math.max(0, bounds.until - Date.now()) / 4;
  const run: SweepRun = { bounds: { ...bounds, until }, log, result, failedSubaccounts: new Set() };
  for await (const subaccount of subaccountsRoundRobin("due chats", until)) {
    if (subaccount.isPaused) {
      result.paused += 1;
      continue;
    }
    result.subaccounts += 1;
    await withTenant(subaccount, run, async (tenant) => {
      await sweepDueChats(subaccount, tenant, run);
      await requeueOverdue(tenant, until).catch((error) => log.warn("Overdue jobs were not looked for", error));
    });
  }
  const judgesFrom = await stageJudgedFrom(log);
  if (judgesFrom === undefined) return result;
  for await (const subaccount of subaccountsRoundRobin("orphans", bounds.until)) {
    if (!subaccount.isPaused && !run.failedSubaccounts.has(subaccount.id))
      await searchOrphans(subaccount, { ...run, bounds }, judgesFrom);
  }
  return result;
}
