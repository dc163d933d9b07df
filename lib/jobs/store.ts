import type { Collection, Filter, UpdateFilter } from "mongodb";
import { runIn, type TenantContext } from "../access/tenant.ts";
import type { ErrorCode } from "../platform/errors.ts";
import { isDuplicate } from "../platform/mongo.ts";
import type { ClaimedJob, StoredJob } from "./model.ts";
import { jobMs, leaseMs, lostMessageMs, retryWaitsMs } from "./timing.ts";

/**
 * The jobs of a tenant. All functions throw CONNECTION_FAILED when the tenant's database does not answer in time. Then
 * the write may still take effect: each of them may be repeated.
 */

const msFromNow = (ms: number) => new Date(Date.now() + ms);

function run<T>(tenant: TenantContext, operation: (jobs: Collection<StoredJob>) => Promise<T>): Promise<T> {
  return runIn(tenant, "jobs", operation);
}

const oneJob = ({ subaccountId }: TenantContext, jobId: string) => ({ _id: jobId, subaccountId });

const unfinished: Filter<StoredJob> = { status: { $in: ["pending", "running"] } };

/** What a job begins with. */
export type NewJob<Input> = Pick<StoredJob<Input>, "_id" | "kind" | "input" | "createdBy" | "operationId"> & {
  hash?: string | undefined;
};

/**
 * Stores a new job, or finds the one that an earlier request with the same id has stored.
 *
 * @returns `isNew`: whether it was stored now.
 */
export async function insert<Input>(
  tenant: TenantContext,
  { hash, ...job }: NewJob<Input>,
): Promise<{ job: StoredJob<Input>; isNew: boolean }> {
  const now = new Date();
  const stored: StoredJob<Input> = {
    ...job,
    ...(hash ? { hash } : {}),
    subaccountId: tenant.subaccountId,
    status: "pending",
    attempt: 0,
    tries: 0,
    leaseUntil: new Date(0), // nobody waits, whatever a worker's clock says
    sweepAt: msFromNow(lostMessageMs),
    createdAt: now,
    expires: msFromNow(jobMs),
  };
  try {
    await run(tenant, (jobs) => jobs.insertOne(stored));
    return { job: stored, isNew: true };
  } catch (error) {
    const earlier = isDuplicate(error) ? await get(tenant, job._id, job.kind) : null;
    if (!earlier) throw error;
    return { job: earlier as StoredJob<Input>, isNew: false };
  }
}

/** One job; null when this subaccount has none of this id and kind. */
export function get(tenant: TenantContext, jobId: string, kind: string): Promise<StoredJob | null> {
  return run(tenant, (jobs) => jobs.findOne({ ...oneJob(tenant, jobId), kind }));
}

/** The jobs of one kind, the newest first. */
export function newest(tenant: TenantContext, kind: string, limit: number): Promise<StoredJob[]> {
  const { subaccountId } = tenant;
  return run(tenant, (jobs) =>
    jobs.find({ subaccountId, kind }).sort({ createdAt: -1, _id: -1 }).limit(limit).toArray(),
  );
}

/** How many jobs of one kind have work left. */
export function countUnfinished(tenant: TenantContext, kind: string): Promise<number> {
  const { subaccountId } = tenant;
  return run(tenant, (jobs) => jobs.countDocuments({ subaccountId, kind, ...unfinished }));
}

/**
 * Takes a job for this worker. Null when it is over, another worker may be at work on it, or its next attempt is due
 * later: then there is nothing to do now, and the sweep looks after it.
 */
export async function claim(tenant: TenantContext, jobId: string): Promise<ClaimedJob | null> {
  const filter = { ...oneJob(tenant, jobId), ...unfinished, leaseUntil: { $lte: new Date() } };
  const update: UpdateFilter<StoredJob> = { $set: { status: "running", ...held() }, $inc: { attempt: 1, tries: 1 } };
  const claimed = await run(tenant, (jobs) => jobs.findOneAndUpdate(filter, update, { returnDocument: "after" }));
  return claimed as ClaimedJob | null;
}

const held = () => ({ leaseUntil: msFromNow(leaseMs), sweepAt: msFromNow(leaseMs + 1_000) });

/**
 * Stores what a step has done, and keeps the job for this worker.
 *
 * @returns False when the job is this worker's no more: it was canceled, or its lease ran out and another has it.
 */
export function keep(tenant: TenantContext, job: ClaimedJob, state: unknown): Promise<boolean> {
  return write(tenant, job, { $set: { state, tries: 0, ...held() }, $unset: { error: "" } });
}

/** Gives a job back, to be claimed from a time on. */
export function release(tenant: TenantContext, job: ClaimedJob, waitMs: number): Promise<boolean> {
  return write(tenant, job, { $set: { status: "pending", ...dueIn(waitMs) } });
}

/**
 * Notes that an attempt failed: the next one is due after a wait, or the job has failed.
 *
 * @returns The wait in ms, or what else came of it: `lost`, if the job is this worker's no more.
 */
export async function failAttempt(
  tenant: TenantContext,
  job: ClaimedJob,
  code: ErrorCode,
): Promise<number | "failed" | "lost"> {
  const waitMs = retryWaitsMs[Math.max(0, job.tries - 1)]; // after a step, it is the first attempt again
  if (waitMs === undefined) return (await fail(tenant, job, code)) ? "failed" : "lost";
  const isKept = await write(tenant, job, { $set: { status: "pending", error: { code }, ...dueIn(waitMs) } });
  return isKept ? waitMs : "lost";
}

const dueIn = (ms: number) => ({
  leaseUntil: ms > 0 ? msFromNow(ms) : new Date(0),
  sweepAt: msFromNow(ms + lostMessageMs),
});

/** Ends a job that cannot be done. */
export function fail(tenant: TenantContext, job: ClaimedJob, code: ErrorCode): Promise<boolean> {
  return write(tenant, job, over({ status: "failed", error: { code } }));
}

/** Ends a job that is done. */
export function complete(tenant: TenantContext, job: ClaimedJob, result: unknown): Promise<boolean> {
  return write(tenant, job, {
    ...over({ status: "completed", result }),
    $unset: { sweepAt: "", error: "", state: "" },
  });
}

/**
 * Ends a job that nobody wants any more. A worker that is at work on it stops before its next step.
 *
 * @returns The job as it is now; null when this subaccount has none.
 */
export async function cancel(tenant: TenantContext, jobId: string, kind: string): Promise<StoredJob | null> {
  const filter = { ...oneJob(tenant, jobId), kind, ...unfinished };
  const update = over({ status: "canceled" });
  const canceled = await run(tenant, (jobs) => jobs.findOneAndUpdate(filter, update, { returnDocument: "after" }));
  return canceled ?? get(tenant, jobId, kind);
}

/** Notes that what a completed job has made is gone. Returns the job as it is now. */
export async function expire(tenant: TenantContext, { _id }: Pick<StoredJob, "_id">): Promise<StoredJob | null> {
  const filter = { ...oneJob(tenant, _id), status: "completed" as const };
  return run(tenant, (jobs) =>
    jobs.findOneAndUpdate(filter, { $set: { fileGone: true } }, { returnDocument: "after" }),
  );
}

const over = (fields: Partial<StoredJob>): UpdateFilter<StoredJob> => ({
  $set: { ...fields, finishedAt: new Date() },
  $unset: { sweepAt: "" },
});

/** Writes only if this worker still holds the job. */
async function write(tenant: TenantContext, job: ClaimedJob, update: UpdateFilter<StoredJob>): Promise<boolean> {
  const filter = { ...oneJob(tenant, job._id), status: "running" as const, attempt: job.attempt };
  return (await run(tenant, (jobs) => jobs.updateOne(filter, update))).matchedCount === 1;
}

/** Jobs that nobody has looked at in time: their message was lost, or their worker has died. */
export function overdue(tenant: TenantContext, limit: number): Promise<Pick<StoredJob, "_id" | "kind" | "sweepAt">[]> {
  const { subaccountId } = tenant;
  return run(tenant, (jobs) =>
    jobs
      .find({ subaccountId, sweepAt: { $lte: new Date() } }, { projection: { kind: 1, sweepAt: 1 } })
      .sort({ sweepAt: 1 })
      .limit(limit)
      .toArray(),
  );
}

/** Notes that an overdue job has a new message. False when another sweep was first, or a worker has it. */
export async function requeued(tenant: TenantContext, job: Pick<StoredJob, "_id" | "sweepAt">): Promise<boolean> {
  const filter = { ...oneJob(tenant, job._id), sweepAt: job.sweepAt };
  const update = { $set: { sweepAt: msFromNow(lostMessageMs) } };
  return (await run(tenant, (jobs) => jobs.updateOne(filter as Filter<StoredJob>, update))).modifiedCount === 1;
}
