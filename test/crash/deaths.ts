import { ObjectId } from "mongodb";
import { agrees, at, swept } from "../support/retried.ts";
import { aWorld, central, eventFor, type Request, type World } from "../support/world.ts";
import { aVictim, type Moment, momentsOf, type Run, type Victim } from "./crash.ts";

/** A request that will die, and what is to hold in the end. */
export interface Doomed {
  run: Run;
  /** What its client does about it. */
  retry: () => Promise<void>;
  /** Beside what holds for every chat, when the sweep has run. */
  check: () => Promise<void>;
}

export interface Scenario {
  /** What it must do on its way, among other things. */
  through: string[];
  /** In a process that has served a request before; else in a new one. */
  isWarm?: boolean;
  prepare: (world: World) => Promise<Doomed>;
}

/** What came of a request that died at every moment. */
export interface Deaths {
  calls: string[];
  moments: number;
  /** What was wrong in the end, by the moment of the death. */
  violations: string[];
}

/** On a slow machine a call may time out, and the request takes another way. */
const tries = 15; // on a busy machine another call may come first, again and again

/**
 * Runs a request once for its calls, then once for each moment at which it may die, in a tenant and a process of its
 * own. After each death the client comes back, the sweep runs, and all must be as if nothing had happened.
 */
export async function dieAnywhere(scenario: Scenario): Promise<Deaths> {
  const trips = await reached(scenario, ({ doomed, victim }) => victim.watch(doomed.run));
  const moments = momentsOf(trips);
  const violations: string[] = [];
  for (const moment of moments) {
    const wrong = await wrongAfter(moment, scenario);
    if (wrong) violations.push(`${moment.name}: ${wrong}`);
  }
  return { calls: trips.map(({ what }) => what), moments: moments.length, violations };
}

/** What is wrong after a death at that moment; "" when nothing is. */
function wrongAfter(moment: Moment, scenario: Scenario): Promise<string> {
  return reached(scenario, async ({ world, doomed, victim }) => {
    if (!(await victim.kill(doomed.run, moment))) return undefined;
    try {
      await doomed.retry();
      await swept(world);
      await agrees(world);
      await doomed.check();
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  });
}

interface Stage {
  world: World;
  doomed: Doomed;
  victim: Victim;
}

/** Tries it until it comes to something: in a tenant of its own, with a request there and a process that will run it. */
async function reached<T>({ prepare, isWarm }: Scenario, play: (stage: Stage) => Promise<T | undefined>): Promise<T> {
  for (let attempt = 0; attempt < tries; attempt++) {
    const world = await aWorld();
    try {
      const doomed = await prepare(world);
      const victim = await aVictim();
      if (isWarm) {
        // Whatever it answers, it has read who may do what, and by which account.
        const request: Request = { ...at(world, "chat_of_nobody"), body: { content: "ping" } };
        await victim.serve({ name: "message", event: eventFor("message", request) });
      }
      const found = await play({ world, doomed, victim });
      if (found !== undefined) return found;
    } finally {
      // Nobody sweeps it any more.
      await central.collection("subaccounts").deleteOne({ _id: new ObjectId(world.subaccountId) });
    }
  }
  throw new Error(`Not reached in ${tries} tries`);
}
