/** Every lease and wait of background jobs, with its reason. docs/jobs.md has the protocol. */

const second = 1_000;
const minute = 60 * second;
const day = 24 * 60 * minute;

/** How long a worker may be alive after its last write to a job. Every step renews it, and must be shorter. */
export const leaseMs = 2 * minute;

/** A worker begins no step with less time left than this: the longest step, with its repeats. */
export const stepReserveMs = 45 * second;

/** How long a message may be in the queue before the sweep sends another one. A second message does no harm. */
export const lostMessageMs = 5 * minute;

/** The waits between attempts that fail without having done a step. After the last, the job has failed. */
export const retryWaitsMs = [second, 5 * second, 30 * second, 2 * minute, 10 * minute, 30 * minute];

/** How long the document of a job stays. */
export const jobMs = 30 * day;
