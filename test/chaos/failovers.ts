import { setTimeout as delay } from "node:timers/promises";
import type { ReplicaSet } from "../../dev/mongod/replica-set.ts";
import { Dice } from "./dice.ts";

/** A replica set that loses its primary again and again. */
export interface Failovers {
  /** How often, by how it was lost. */
  troubles: Record<string, number>;
  /** No more of it; resolves when all members are there. */
  calm(): Promise<void>;
}

const peaceMs = [8_000, 25_000] as const;
/** How long the primary goes on alone before it dies: what it acknowledges by itself is lost. */
const aloneMs = [0, 1_000] as const;
const deadMs = [500, 5_000] as const;
/** Longer than an election takes: another one is primary when it goes on. */
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
  life.catch(() => {}); // told of by calm()

  return {
    troubles,
    async calm() {
      ending.abort();
      await life;
      await set.secondaries();
    },
  };
}
