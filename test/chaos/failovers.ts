import { setTimeout as delay } from "node:timers/promises";
import type { ReplicaSet } from "../support/replica-set.ts";
import { Dice } from "./dice.ts";

/** A replica set that loses its primary repeatedly. */
export interface Failovers {
  /** Number of losses, by kind. */
  troubles: Record<string, number>;
  /** Stops the failovers. Resolves when all members run. */
  calm(): Promise<void>;
}

const peaceMs = [8_000, 25_000] as const;
/** How long the primary runs alone before it is killed: writes that only it acknowledged are lost. */
const aloneMs = [0, 1_000] as const;
const deadMs = [500, 5_000] as const;
/** Longer than an election, so another member is primary when the frozen one continues. */
const frozenMs = [2_500, 5_000] as const;

/** Kills or freezes the primary at moments drawn from the seed. */
export function failovers(set: ReplicaSet, seed: number): Failovers {
  const dice = new Dice(seed, "failovers");
  const ending = new AbortController();
  const troubles = { killed: 0, frozen: 0 };

  async function lose(): Promise<void> {
    const primary = await set.primary();
    if (dice.chance(0.3)) {
      troubles.frozen += 1;
      primary.freeze();
      await delay(dice.between(...frozenMs));
      primary.thaw();
      return;
    }
    troubles.killed += 1;
    const others = await set.secondaries();
    const isAlone = dice.chance(0.7);
    if (isAlone) await Promise.all(others.map((member) => member.setReplicating(false)));
    await delay(dice.between(...aloneMs));
    await primary.kill();
    if (isAlone) await Promise.all(others.map((member) => member.setReplicating(true)));
    await delay(dice.between(...deadMs));
    await primary.start();
  }

  const life = (async () => {
    for (;;) {
      await delay(dice.between(...peaceMs), undefined, { signal: ending.signal }).catch(() => {});
      if (ending.signal.aborted) return;
      await lose();
    }
  })();
  life.catch(() => {}); // calm() reports the error

  return {
    troubles,
    async calm() {
      ending.abort();
      await life;
      await set.secondaries();
    },
  };
}
