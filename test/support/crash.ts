import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { bundle } from "../../dev/build.ts";
import { httpProxy, mongoProxy, Recorder, type Service, type Treatment, type Trip } from "./proxy.ts";

/** What a victim is told to do. */
export interface Run {
  name: "create" | "message" | "end" | "webhook" | "sweep";
  event: unknown;
}

/** A moment at which a process may die: what it had done by then, and what it was about to do or had just done. */
export interface Death {
  /** Reads as `after findAndModify chats, beside GET /get-chat`. */
  name: string;
  at: string;
  /** The calls that have had their effect, by name; all others never arrive. */
  effects: ReadonlySet<string>;
}

/** A process that runs the API's functions, with every call of its own in our hands. */
export interface Victim {
  /** Runs a function to its end. */
  serve(what: Run): Promise<void>;
  /** The same, for its calls, in the order of their coming; undefined when it did not succeed. */
  watch(what: Run): Promise<Trip[] | undefined>;
  /** Runs a function and kills the process at that moment; false when it never came to it. */
  kill(what: Run, death: Death): Promise<boolean>;
  /** Kills it and closes what stood around it. */
  bury(): Promise<void>;
}

/** Names calls by what is called; the second of a name is `#2`. */
class Ledger extends Recorder {
  #counts = new Map<string, number>();
  onChange = () => {};

  /** To be asked once for each call, by each of the two that name it. */
  name(by: "begin" | "treat", what: string): string {
    const plain = what.replace(/chat_\w+/, "{chatId}");
    const count = (this.#counts.get(`${by} ${plain}`) ?? 0) + 1;
    this.#counts.set(`${by} ${plain}`, count);
    return count === 1 ? plain : `${plain} #${count}`;
  }

  reset(): void {
    this.#counts.clear();
    this.trips = [];
  }

  override begin(to: Service, what: string): Trip {
    const trip = super.begin(to, this.name("begin", what));
    this.onChange();
    return trip;
  }

  override async end(trip: Trip): Promise<void> {
    await super.end(trip);
    this.onChange();
  }
}

/**
 * Every moment at which a request may die, as seen from outside: before and after the effect of each of its calls. A
 * call that is made beside others dies both with theirs done and with none of them done. After one call and before the
 * next is the same moment: what the process knew by then dies with it.
 *
 * @param trips What the request did when it was left alone, each answer held back until nothing more came.
 */
export function deathsOf(trips: Trip[]): Death[] {
  const moments = trips.flatMap((trip) => {
    const earlier = trips.filter(({ end }) => end < trip.start);
    const beside = trips.filter((other) => other !== trip && other.end > trip.start && other.start < trip.end);
    return (beside.length > 0 ? [[], beside] : [[]]).flatMap((company) => {
      const done = [...earlier, ...company].map(({ what }) => what);
      const rest = company.length > 0 ? `, beside ${company.map(({ what }) => what).join(" and ")}` : "";
      return [
        { name: `before ${trip.what}${rest}`, at: trip.what, effects: new Set(done) },
        { name: `after ${trip.what}${rest}`, at: trip.what, effects: new Set([...done, trip.what]) },
      ];
    });
  });
  const byEffects = new Map<string, Death>();
  for (const moment of moments) {
    const effects = [...moment.effects].sort().join();
    const same = byEffects.get(effects);
    byEffects.set(effects, same ? { ...same, name: `${same.name}, ${moment.name}` } : moment);
  }
  return [...byEffects.values()];
}

/** As it is deployed: that is what has to survive, and it starts in a fifth of the time. */
const folder = await mkdtemp(join(tmpdir(), "scalai-victim-"));
const program = join(folder, "index.cjs");
await bundle(fileURLToPath(new URL("victim.ts", import.meta.url)), folder);

const never = Number.POSITIVE_INFINITY;
const alive = new Set<Victim>();
afterAll(async () => {
  await Promise.all(waiting.splice(0));
  await Promise.all(Array.from(alive, (victim) => victim.bury()));
  await rm(folder, { recursive: true });
});

/** The next ones start while a test is busy with this one. */
const waiting: Promise<Victim>[] = [];
const ahead = 2;

/** A process that has done nothing yet. */
export async function aVictim(): Promise<Victim> {
  while (waiting.length <= ahead) waiting.push(start());
  return waiting.shift() ?? start();
}

async function start(): Promise<Victim> {
  const { MONGODB_URL = "", RETELL_BASE_URL = "", UPSTASH_REDIS_REST_URL = "" } = process.env;
  const ledger = new Ledger();
  const central = new URL(MONGODB_URL);
  const [mongo, retell, upstash] = await Promise.all([
    mongoProxy(central, ledger),
    httpProxy("retell", RETELL_BASE_URL, ledger),
    httpProxy("upstash", UPSTASH_REDIS_REST_URL, ledger),
  ]);
  const child = fork(program, {
    env: {
      ...process.env,
      MONGODB_URL: `mongodb://127.0.0.1:${mongo.port}${central.pathname}?directConnection=true`,
      RETELL_BASE_URL: `http://127.0.0.1:${retell.port}`,
      UPSTASH_REDIS_REST_URL: `http://127.0.0.1:${upstash.port}`,
    },
    execArgv: [],
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const victim = victimOf(child, ledger, [mongo, retell, upstash]);
  alive.add(victim);
  await once(child, "message");
  return victim;
}

function victimOf(child: ChildProcess, ledger: Ledger, proxies: Awaited<ReturnType<typeof httpProxy>>[]): Victim {
  const gone = once(child, "exit");
  // Always, since what goes to Redis in one batch and what in two depends on when answers come.
  ledger.quietMs = 30;
  const treat = (how: (name: string) => Treatment) => {
    for (const proxy of proxies) {
      proxy.treat = (what) => (what === "hello" ? "pass" : how(ledger.name("treat", what)));
    }
  };
  const tell = async (what: Run) => {
    ledger.reset();
    const answered = once(child, "message");
    child.send(what);
    const [{ status }] = await answered;
    return status;
  };

  const victim: Victim = {
    async serve(what) {
      treat(() => "pass");
      await tell(what);
    },
    async watch(what) {
      treat(() => "pass");
      const status = await tell(what);
      await victim.bury();
      return status === 200 ? ledger.trips : undefined;
    },
    async kill(what, { at, effects }) {
      treat((call) => (!effects.has(call) ? "hang" : call === at ? "mute" : "pass"));
      const { promise: died, resolve } = Promise.withResolvers<boolean>();
      ledger.onChange = () => {
        const made = new Map(ledger.trips.map((trip) => [trip.what, trip.end]));
        const isDone = [...effects].every((call) => (made.get(call) ?? never) < never);
        if (!isDone || !made.has(at)) return;
        ledger.onChange = () => {};
        child.kill("SIGKILL");
        resolve(true);
      };
      const isKilled = await Promise.race([died, tell(what).then(() => false)]);
      await victim.bury();
      return isKilled;
    },
    async bury() {
      alive.delete(victim);
      child.kill("SIGKILL");
      await gone;
      await Promise.all(proxies.map((proxy) => proxy.stop()));
    },
  };
  return victim;
}
