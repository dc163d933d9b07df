import { loadSubaccount } from "../access/subaccount.ts";
import { openTenant, type TenantContext } from "../access/tenant.ts";
import { ApiError, type ErrorCode } from "../platform/errors.ts";
import type { RequestLog } from "../platform/logger.ts";
import type { ClaimedJob, JobMessage } from "./model.ts";
import { enqueue } from "./queue.ts";
import * as jobs from "./store.ts";
import { retryWaitsMs, stepReserveMs } from "./timing.ts";

/** What came of a step: the job's new state, or the result with which it is done. */
export type Step<State, Result> =
  | { state: State; result?: never /** How long the job waits before its next step. */; waitMs?: number }
  | { result: Result; state?: never };

/**
 * What jobs of one kind do.
 *
 * A step may be repeated: its worker may die before the step's state is stored, and a worker that has lost the job may
 * still be at work beside the next one. So what a step does elsewhere is either the same when it is done twice, or is
 * named by `attempt`, so that two workers never do the same.
 */
export interface JobKind<Input, State, Result> {
  step(job: ClaimedJob<Input, State>, tenant: TenantContext): Promise<Step<State, Result>>;
  /** Called after a job was stored as completed or failed. May not happen, if the worker dies. */
  ended?(job: ClaimedJob<Input, State>, tenant: TenantContext, outcome: "completed" | "failed"): Promise<void>;
}

/** The kinds by the name that their jobs and messages have. */
// biome-ignore lint/suspicious/noExplicitAny: a job of a kind has what that kind has stored
export type JobKinds = Record<string, JobKind<any, any, any>>;

/** A job that cannot be done, however often it is tried. */
export class JobFailed extends ApiError {}

/**
 * Works on the job that a message names, until it is done or the time is over; then it puts it into the queue again.
 * There is nothing to do if the job is over, or another worker has it.
 *
 * @param until Epoch ms, when the worker must have ended.
 * @throws CONNECTION_FAILED when it could not be found out what the job is: the message should come again.
 */
export async function runJob(kinds: JobKinds, message: JobMessage, until: number, log: RequestLog): Promise<void> {
  const subaccount = await loadSubaccount(message.subaccountId);
  if (!subaccount || subaccount.paused) return; // the sweep sends a message when it is paused no more
  const trailing: Promise<unknown>[] = [];
  const tenant = await openTenant(message.subaccountId, subaccount, { log, trailing });
  try {
    const kind = kinds[message.kind];
    const job = kind && (await jobs.claim(tenant, message.jobId));
    if (!job) return;
    log.fields.operationId = job.operationId; // so that the lines are found with those of the request
    await new Work(kind, job, message, tenant).run(until);
  } finally {
    await Promise.all(trailing);
    tenant.release();
  }
}

class Work {
  readonly #kind: JobKind<unknown, unknown, unknown>;
  #job: ClaimedJob;
  readonly #message: JobMessage;
  readonly #tenant: TenantContext;

  constructor(kind: JobKind<unknown, unknown, unknown>, job: ClaimedJob, message: JobMessage, tenant: TenantContext) {
    this.#kind = kind;
    this.#job = job;
    this.#message = message;
    this.#tenant = tenant;
  }

  async run(until: number): Promise<void> {
    const { log } = this.#tenant;
    // Its workers have died, and none was left to say why.
    if (this.#job.tries > retryWaitsMs.length + 1) return this.#fail(this.#job.error?.code ?? "INTERNAL_ERROR");
    try {
      while (await this.#step(until));
    } catch (error) {
      const code = error instanceof ApiError ? error.code : "INTERNAL_ERROR";
      if (error instanceof JobFailed) return this.#fail(code, error);
      log.warn("An attempt at a job failed", error, this.#about());
      const next = await jobs.failAttempt(this.#tenant, this.#job, code);
      if (next === "failed") await this.#ended("failed");
      else if (next !== "lost") await enqueue(this.#message, log, next + 1_000); // after the lease, whatever the clocks say
    }
  }

  /** Returns whether this worker goes on. */
  async #step(until: number): Promise<boolean> {
    const step = await this.#kind.step(this.#job, this.#tenant);
    if ("result" in step) {
      if (await jobs.complete(this.#tenant, this.#job, step.result)) await this.#ended("completed");
      return false;
    }
    if (!(await jobs.keep(this.#tenant, this.#job, step.state))) return false;
    this.#job = { ...this.#job, state: step.state, tries: 0 };
    const { waitMs = 0 } = step;
    // An operator has paused the subaccount: nothing is written, and the sweep goes on when it is paused no more.
    if ((await loadSubaccount(this.#tenant.subaccountId))?.paused) return false;
    if (waitMs === 0 && Date.now() + stepReserveMs < until) return true;
    if (await jobs.release(this.#tenant, this.#job, waitMs)) {
      await enqueue(this.#message, this.#tenant.log, waitMs > 0 ? waitMs + 1_000 : 0);
    }
    return false;
  }

  async #fail(code: ErrorCode, error?: unknown): Promise<void> {
    if (!(await jobs.fail(this.#tenant, this.#job, code))) return;
    if (error) this.#tenant.log.warn("A job cannot be done", error, this.#about());
    await this.#ended("failed");
  }

  async #ended(outcome: "completed" | "failed"): Promise<void> {
    const { log } = this.#tenant;
    log.metrics.add(outcome === "completed" ? "JobsCompleted" : "JobsFailed");
    log.info(`A job has ${outcome === "completed" ? "been completed" : "failed"}`, this.#about());
    await this.#kind.ended?.(this.#job, this.#tenant, outcome);
  }

  #about() {
    const { _id, kind, attempt, tries } = this.#job;
    return { jobId: _id, kind, attempt, tries };
  }
}
