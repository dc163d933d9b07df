import type { TenantContext } from "../access/tenant.ts";
import { enqueue } from "./queue.ts";
import * as jobs from "./store.ts";

/** Jobs of one subaccount that a run of the sweep puts into the queue. */
const perRun = 100;

/**
 * Puts jobs into the queue again whose message was lost, or whose worker has died.
 *
 * @param until Epoch ms. What is left then is for the next sweep.
 */
export async function requeueOverdue(tenant: TenantContext, until: number): Promise<void> {
  const { subaccountId, log } = tenant;
  for (const job of await jobs.overdue(tenant, perRun)) {
    if (Date.now() > until) return;
    if (!(await jobs.requeued(tenant, job))) continue;
    log.metrics.add("JobsRequeued");
    await enqueue({ subaccountId, jobId: job._id, kind: job.kind }, log);
  }
}
