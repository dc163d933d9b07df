import { openTenant, type TenantContext } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
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
  failed: number;
  /** Subaccounts that were skipped because an operator has paused them. */
  paused: number;
  /** Age of the oldest turn that is still open; 0 when none is. */
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
 */
export async function withTenant(
  { id, location }: Subaccount,
  run: SweepRun,
  work: (tenant: TenantContext) => Promise<void>,
): Promise<void> {
  const log = new RequestLog({ ...run.log.fields, subaccountId: id }, run.log.metrics);
  const trailing: Promise<unknown>[] = [];
  let tenant: TenantContext | undefined;
  try {
    tenant = await openTenant(id, location, { log, trailing });
    await work(tenant);
  } catch (error) {
    run.failedSubaccounts.add(id);
    run.result.failed += 1;
    log.warn("A subaccount could not be swept", error);
  } finally {
    await Promise.all(trailing);
    tenant?.release();
  }
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
