import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { bundle } from "../../infra/build.ts";
import type { Aws } from "../support/aws.ts";
import { collectDying } from "../support/instance.ts";
import { httpProxy, mongoProxy, Recorder, type Service, type Treatment, type Trip } from "../support/proxy.ts";

/** What a victim is told to do. */
export interface Run {
  name: "create" | "delete" | "message" | "end" | "webhook" | "sweep" | "worker";
  event: unknown;
}

/** A moment at which a process may die, as it is seen from outside: by what it has done. */
export interface Moment {
  /** Reads as `after GET /get-chat and findAndModify chats`. */
  name: string;
  /** The calls that have had their effect; all others never arrive. */
  effects: ReadonlySet<string>;
  /** By a call in `effects`: the calls that had come before its answer left, when nobody died. */
  beside: ReadonlyMap<string, string[]>;
}

/** A process that runs the API's functions, with every call of its own in our hands. */
export interface Victim {
  /** Runs a function to its end. */
  serve(what: Run): Promise<void>;
  /** The same, for its calls, in the order of their coming; undefined when it did not succeed. */
  watch(what: Run): Promise<Trip[] | undefined>;
  /** Runs a function and kills the process at that moment; false when it never came to it. */
  kill(what: Run, moment: Moment): Promise<boolean>;
  /** Kills it and closes what stood around it. */
  bury(): Promise<void>;
}

/** Names calls by what is called; the second of a name is `#2`. */
class Ledger extends Recorder {
  #counts = new Map<string, number>();
  #moment: Moment | undefined;
  #waiting: (() => void)[] = [];
  #held: Trip[] = [];

  /** To be asked once for each call, by each of the two that name it. */
  name(by: "begin" | "treat", what: string): string {
    const plain = what.replace(/chat_\w+/, "{chatId}").replace(/exp_[\w-]+|[\da-f]{24}|(?<=uploadId=)[^&]+/g, "…");
    const count = (this.#counts.get(`${by} ${plain}`) ?? 0) + 1;
    this.#counts.set(`${by} ${plain}`, count);
    return count === 1 ? plain : `${plain} #${count}`;
  }

  /** Forgets what was. With a moment, answers leave in the order in which they left when nobody died. */
  reset(moment?: Moment): void {
    this.#counts.clear();
    this.#moment = moment;
    this.trips = [];
  }

  /** Resolves when it holds, looked at whenever something has come or gone. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  override begin(to: Service, what: string): Trip {
    const trip = super.begin(to, this.name("begin", what));
    this.#wake();
    return trip;
  }

  override async end(trip: Trip): Promise<void> {
    if (this.#moment) {
      const beside = this.#moment.beside.get(trip.what) ?? [];
      await this.until(() => beside.every((call) => this.trips.some(({ what }) => what === call)));
    } else if (this.quietMs > 0) {
      // One at a time: what comes next has waited for this one, and for none of those that are still held. Those of
      // Redis last, since it is there that things are left to be done on the way.
      this.#held.push(trip);
      do await this.quiet(this.quietMs);
      while (trip !== (this.#held.findLast(({ to }) => to !== "upstash") ?? this.#held.at(-1)));
      this.#held.splice(this.#held.indexOf(trip), 1);
      this.arrive();
    }
    trip.end = this.now();
    this.#wake();
  }
}

/**
 * Every moment at which a request may die: each set of calls that may have had their effect while no other has, since
 * what a call waited for is done before it. What the process knew by then dies with it, so that nothing else matters.
 *
 * @param trips What the request did when it was left alone, each answer held back until nothing more came: of two
 *              calls one waits for the other only if it comes after its answer.
 */
export function momentsOf(trips: Trip[]): Moment[] {
  const before = (trip: Trip) => trips.filter(({ end }) => end < trip.start);
  const isDone = (trip: Trip, done: Trip[]) => before(trip).every((earlier) => done.includes(earlier));
  const sets: Trip[][] = [[]];
  for (const trip of trips) {
    for (const done of [...sets]) if (isDone(trip, done)) sets.push([...done, trip]);
  }
  return sets.map((done) => {
    const last = done.filter((trip) => !done.some((other) => before(other).includes(trip)));
    const beside = (trip: Trip) => trips.filter((other) => other.start < trip.end && isDone(other, done));
    return {
      name: last.length > 0 ? `after ${namesOf(last).join(" and ")}` : "before anything",
      effects: new Set(namesOf(done)),
      beside: new Map(done.map((trip) => [trip.what, namesOf(beside(trip))])),
    };
  });
}

const namesOf = (trips: Trip[]) => trips.map(({ what }) => what);

const never = Number.POSITIVE_INFINITY;
/** On a busy machine too, a call that waits for no answer comes within it. */
const quietMs = 150;

// 32 bytes: a passphrase costs each new process a pause.
process.env.ENCRYPTION_KEY = randomBytes(32).toString("hex");

/** As it is deployed: that is what has to survive, and it starts in a fifth of the time. */
const folder = await mkdtemp(join(tmpdir(), "scalai-victim-"));
const program = join(folder, "index.cjs");
await bundle(fileURLToPath(new URL("victim.ts", import.meta.url)), folder);

const alive = new Set<Victim>();
afterAll(async () => {
  await Promise.all(waiting.splice(0));
  await Promise.all(Array.from(alive, (victim) => victim.bury()));
  await rm(folder, { recursive: true });
});

/** The next ones start while a test is busy with this one. */
const waiting: Promise<Victim>[] = [];
const ahead = 2;

/** A process that has done nothing yet. All of a file's use the same AWS, if any. */
export async function aVictim(aws?: Aws): Promise<Victim> {
  while (waiting.length <= ahead) waiting.push(start(aws));
  return waiting.shift() ?? start(aws);
}

async function start(aws: Aws | undefined): Promise<Victim> {
  const { MONGODB_URL = "", RETELL_BASE_URL = "", UPSTASH_REDIS_REST_URL = "" } = process.env;
  const ledger = new Ledger();
  const central = new URL(MONGODB_URL);
  const [mongo, retell, upstash] = await Promise.all([
    mongoProxy(central, ledger),
    httpProxy("retell", RETELL_BASE_URL, ledger),
    httpProxy("upstash", UPSTASH_REDIS_REST_URL, ledger),
  ]);
  // The recorder tells only Redis from the others.
  const cloud = aws ? [await httpProxy("retell", aws.url, ledger)] : [];
  const child = fork(program, {
    env: {
      ...process.env,
      MONGODB_URL: `mongodb://127.0.0.1:${mongo.port}${central.pathname}?directConnection=true`,
      RETELL_BASE_URL: `http://127.0.0.1:${retell.port}`,
      UPSTASH_REDIS_REST_URL: `http://127.0.0.1:${upstash.port}`,
      ...(aws && cloud[0] ? aws.environment(`http://127.0.0.1:${cloud[0].port}`) : {}),
    },
    execArgv: [],
    stdio: ["ignore", "pipe", "ignore", "ipc"],
  });
  if (child.stdout) createInterface(child.stdout).on("line", collectDying);
  const victim = victimOf(child, ledger, [mongo, retell, upstash, ...cloud]);
  alive.add(victim);
  await once(child, "message");
  return victim;
}

function victimOf(child: ChildProcess, ledger: Ledger, proxies: Awaited<ReturnType<typeof httpProxy>>[]): Victim {
  const gone = once(child, "exit");
  const treat = (how: (name: string) => Treatment) => {
    for (const proxy of proxies) {
      proxy.treat = (what) => (what === "hello" ? "pass" : how(ledger.name("treat", what)));
    }
  };
  const tell = async (what: Run) => {
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
      ledger.reset();
      ledger.quietMs = quietMs;
      const status = await tell(what);
      await victim.bury();
      return status === 200 ? ledger.trips : undefined;
    },
    async kill(what, moment) {
      const { effects } = moment;
      treat((call) => (effects.has(call) ? "pass" : "hang"));
      ledger.reset(moment);
      const isDone = (call: string) => ledger.trips.some(({ what, end }) => what === call && end < never);
      const died = ledger
        .until(() => ledger.trips.length > 0 && [...effects].every(isDone))
        .then(() => {
          child.kill("SIGKILL");
          return true;
        });
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
