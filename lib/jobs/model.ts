import type { ErrorCode } from "../platform/errors.ts";

/** What a queue carries. It says which job to look at, never what to do: the job's document decides that. */
export interface JobMessage {
  subaccountId: string;
  jobId: string;
  kind: string;
}

/** `pending` and `running` jobs have work left; the others are over and never change again. */
export type JobStatus = "pending" | "running" | "completed" | "failed" | "canceled";

/**
 * Work in the background, as it is stored in the tenant's database: it moves with the tenant's data and is paused with
 * it.
 *
 * @template Input  What was asked for. Never changes.
 * @template State  What the steps so far have done. Each step replaces it, in the write that proves that its worker
 *                  still holds the job.
 * @template Result Of a completed job.
 */
export interface StoredJob<Input = unknown, State = unknown, Result = unknown> {
  _id: string;
  subaccountId: string;
  kind: string;
  status: JobStatus;
  input: Input;
  /** Absent until the first step is done. */
  state?: State;
  result?: Result;
  /** Why it failed, or why its last attempt did. */
  error?: { code: ErrorCode };
  /** +1 with each claim: the fencing token. A write names it, so that a worker that lost the job changes nothing. */
  attempt: number;
  /** Claims since the last step that was done. */
  tries: number;
  /** Until when its worker may be alive. Nobody claims it before. */
  leaseUntil: Date;
  /** When the sweep puts it into the queue again. Absent: it is over. */
  sweepAt?: Date;
  /** The digest of the request that came with its Idempotency-Key. */
  hash?: string;
  /** What it made was deleted before its time. */
  fileGone?: true;
  createdBy: string;
  operationId: string;
  createdAt: Date;
  finishedAt?: Date;
  /** When MongoDB deletes the document. */
  expires: Date;
}

/** A job whose worker holds it. */
export type ClaimedJob<Input = unknown, State = unknown> = StoredJob<Input, State> & { status: "running" };
