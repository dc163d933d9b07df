/** The queue of background jobs: its functions and its times. infra/background.ts deploys it. */

/** The functions that get their events from the queue, by their file in functions/. */
export const workers = ["worker"] as const;

/** How long a worker may run. A background turn may wait for Retell for 300 s. */
export const workerSeconds = 330;

/** How long a message that a worker has got is hidden from others: AWS advises six times the function's timeout. */
export const visibilitySeconds = 6 * workerSeconds;

/** How often a message is delivered before it is a dead letter, and how long that is kept. */
export const maxReceives = 5;
export const deadLetterDays = 14;

/** How many workers run at a time. More would take databases and Retell from those who wait for an answer. */
export const concurrentWorkers = 5;

/** What a function may do with the queue and the bucket of files, besides its secrets. */
export type Use = "send jobs" | "read files" | "write files" | "delete files";

export const uses: Partial<Record<string, Use[]>> = {
  "exports-create": ["send jobs", "read files"],
  "exports-list": ["read files"],
  "exports-get": ["read files"],
  "exports-cancel": ["delete files"],
  sweep: ["send jobs"],
  worker: ["send jobs", "read files", "write files", "delete files"],
};
