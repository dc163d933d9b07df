import { setTimeout as delay } from "node:timers/promises";
import { type Child, startChild } from "../../dev/child.ts";
import { Dice } from "./dice.ts";

/** A process that is repeatedly killed and restarted, or stopped and continued, until the faults end. */
export interface Mortal {
  /** "" for a process that does not listen. */
  url: string;
  kills: number;
  stops: number;
  /** Whether it was stopped and has continued only a short time ago. */
  wasStopped(): boolean;
  /** Stops the kills. Resolves when the process runs. */
  stay(): Promise<void>;
  stop(): Promise<void>;
}

interface Options {
  seed: number;
  name: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  /** Time between two kills, at least and at most. */
  livesMs: readonly [number, number];
  /** Probability that it is stopped for a while instead of killed. */
  stopRate: number;
  onLine(line: string): void;
  /** Called when it has ended by itself. */
  onDeath(line: string): void;
}

const deadMs = [0, 800] as const;
/** Longer than a lease, as a machine that was suspended; how long that counts as an excuse of what then ran. */
const stoppedMs = [3_200, 4_200] as const;
const excusedMs = 15_000;

/** Runs a program of ours as a process that is killed with SIGKILL at moments drawn from the seed, and started again. */
export async function mortal(file: URL, options: Options): Promise<Mortal> {
  const dice = new Dice(options.seed, options.name);
  const ending = new AbortController();
  let args = options.args;
  let dying: (() => void) | undefined;
  let isGone = false;
  const start = () =>
    startChild<{ url?: string }>(file, {
      args,
      env: options.env,
      onStdout: options.onLine,
      onStderr: options.onLine,
      onExit: (line) => {
        if (dying) return dying();
        isGone = true;
        options.onDeath(line);
      },
    });

  let child: Child<{ url?: string }> = await start();
  const url = child.about.url ?? "";
  // Where it listens stays the same.
  if (url) args = [...args, "--port", new URL(url).port];
  let kills = 0;
  let stops = 0;
  let stoppedAt = Number.NEGATIVE_INFINITY;

  async function suspend(): Promise<void> {
    if (isGone) return;
    stops += 1;
    stoppedAt = Number.POSITIVE_INFINITY;
    process.kill(child.pid, "SIGSTOP");
    await delay(dice.between(...stoppedMs));
    process.kill(child.pid, "SIGCONT");
    stoppedAt = Date.now();
  }

  async function kill(): Promise<void> {
    if (!isGone) {
      const dead = Promise.withResolvers<void>();
      dying = dead.resolve;
      process.kill(child.pid, "SIGKILL");
      await dead.promise;
      dying = undefined;
      kills += 1;
    }
    isGone = false;
    await delay(dice.between(...deadMs));
    child = await again(start);
  }

  const life = (async () => {
    for (;;) {
      await delay(dice.between(...options.livesMs), undefined, { signal: ending.signal }).catch(() => {});
      if (ending.signal.aborted) return;
      await (dice.chance(options.stopRate) ? suspend() : kill());
    }
  })();

  const stay = async () => {
    ending.abort();
    await life;
  };
  return {
    url,
    get kills() {
      return kills;
    },
    get stops() {
      return stops;
    },
    wasStopped: () => Date.now() - stoppedAt < excusedMs,
    stay,
    async stop() {
      await stay();
      await child.stop();
    },
  };
}

/** Retries for a moment if the port is in use: an outgoing connection may have got it. */
async function again<T>(start: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      if (attempt === 50) throw error;
      await delay(100);
    }
  }
}
