import { openTenant, type TenantContext } from "../../access/tenant.ts";
import { ApiError, type TenantCause, tenantCauseOf } from "../../platform/errors.ts";
import { RequestLog } from "../../platform/logger.ts";
import { type RetellClient, retellFor } from "../../retell/client.ts";
import { sweepCallMs } from "../timing.ts";
import type { Subaccount } from "./subaccounts.ts";

/** What one run does at most. */
export interface SweepBounds {
  /** Epoch ms after which no new work starts. Work that has started may take `sweepReserveMs` more. */
  until: number;
  /** Chats of one subaccount. */
  perSubaccount: number;
}

/** What one run has done. */
export interface SweepResult {
  /** Subaccounts whose due chats were read. */
  subaccounts: number;
  /** Chats that now agree with what Retell answered. */
  settled: number;
  /** Chats that came of a create of ours, that we have not stored, and that were ended at Retell. */
  orphansEnded: number;
  /** Chats and subaccounts that could not be handled. */
  failed: number;
  /** Subaccounts that were skipped because an operator has paused them. */
  paused: number;
  /** Subaccounts that cannot work now: they failed in this run, or as the last search for orphans noted. */
  failing: number;
  /**
   * Age of the oldest turn that is still open; 0 when none is. Without turns that wait for their tenant's account or
   * database.
   */
  oldestOpenSeconds: number;
}

/** One run of the sweep. */
export interface SweepRun {
  bounds: SweepBounds;
  log: RequestLog;
  result: SweepResult;
  /** Subaccounts that failed. They are skipped until the next run. */
  failedSubaccounts: Set<string>;
}

/**
 * Runs work for one subaccount. If it fails (its cluster, its account, a 429), the sweep continues with the others.
 *
 * @returns Why it failed, if that concerns this tenant alone.
 */
export async function withTenant(
  subaccount: Subaccount,
  run: SweepRun,
  work: (tenant: TenantContext) => Promise<void>,
): Promise<TenantCause | undefined> {
  const { id, location } = subaccount;
  const log = new RequestLog({ ...run.log.fields, subaccountId: id }, run.log.metrics);
  const trailing: Promise<unknown>[] = [];
  let tenant: TenantContext | undefined;
  try {
    tenant = await openTenant(id, location, { log, trailing });
    await work(tenant);
    return undefined;
  } catch (error) {
    run.failedSubaccounts.add(id);
    countFailing(subaccount, run);
    countFailed(run, error);
    log.warn("A subaccount could not be swept", error);
    return tenantCauseOf(error);
  } finally {
    await Promise.all(trailing);
    tenant?.release();
  }
}

/** Counts a subaccount that cannot work now, unless it is not meant to. */
export function countFailing({ isServed }: Subaccount, { result }: SweepRun): void {
  if (isServed) result.failing += 1;
}

/** Counts what a run could not handle. */
export function countFailed({ log, result }: SweepRun, error: unknown): void {
  result.failed += 1;
  if (!tenantCauseOf(error)) log.metrics.add("SweepFailures");
}

/** Undefined when the subaccount has no active Retell account, which is no error. */
export async function activeRetell(tenant: TenantContext): Promise<RetellClient | undefined> {
  return retellFor(tenant).catch((error) => {
    if (error instanceof ApiError && error.code === "RETELL_ACCOUNT_INACTIVE") return undefined;
    throw error;
  });
}

/** Bounds one call to Retell. */
export const callSignal = () => AbortSignal.timeout(sweepCallMs);
