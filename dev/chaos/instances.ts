import { setTimeout as delay } from "node:timers/promises";
import { type Child, startChild } from "../child.ts";
import { Dice } from "./dice.ts";

/** A process that is killed and started again until it is told to stay. */
export interface Mortal {
  /** "" for one that does not listen. */
  url: string;
  kills: number;
  /** No more deaths; resolves when it runs. */
  stay(): Promise<void>;
  stop(): Promise<void>;
}

interface Options {
  seed: number;
  name: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  /** How long it lives, at least and at most. */
  livesMs: readonly [number, number];
  onLine(line: string): void;
  /** It has ended, and not by our hand. */
  onDeath(line: string): void;
}

const deadMs = [0, 800] as const;

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
      await kill();
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
    stay,
    async stop() {
      await stay();
      await child.stop();
    },
  };
}

/** Its port may be in use for a moment: a connection that somebody has opened may have got it. */
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
