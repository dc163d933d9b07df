/** What one request uses, when the instance knows its caller. `test/cost.test.ts` counts everything but `answerBytes`. */
export interface Unit {
  /** Billed by Upstash: commands, and those that run inside of scripts. */
  redisCommands: number;
  /** HTTP requests to Upstash, operations of MongoDB, calls to Retell. */
  trips: { redis: number; mongo: number; retell: number };
  /** Of the function's two lines, each with the 26 bytes that CloudWatch adds. */
  logBytes: number;
  /** What the client gets, compressed: docs/performance.md, test/wire-bytes.test.ts. */
  answerBytes: number;
}

const unit = (
  redisCommands: number,
  [redis, mongo, retell]: [redis: number, mongo: number, retell: number],
  logBytes: number,
  answerBytes: number,
): Unit => ({ redisCommands, trips: { redis, mongo, retell }, logBytes, answerBytes });

export const units = {
  create: unit(11, [2, 3, 1], 1_050, 800),
  message: unit(9, [1, 3, 1], 1_100, 600),
  end: unit(13, [2, 2, 2], 1_150, 400),
  "list, cached": unit(10, [1, 0, 0], 900, 4_400),
  "list, not cached": unit(13, [2, 1, 0], 900, 4_400),
  "transcript, cached": unit(10, [1, 0, 0], 950, 3_000),
  "transcript, not cached": unit(13, [2, 1, 0], 1_000, 3_000),
  "transcript, ongoing": unit(10, [1, 1, 1], 1_050, 3_000),
};

export type Kind = keyof typeof units;

/** Redis commands of the two windows of a request: counted by @upstash/ratelimit, by one script, by fixed windows. */
export const windowCommands = { sliding: 8, oneScript: 4, fixed: 4 };

/** Operations of MongoDB in a run of the sweep, for each subaccount that has nothing to do. */
export const sweepOperationsPerTenant = 3;
