import { afterAll } from "vitest";
import { Dice } from "../chaos/dice.ts";
import { type Mortal, mortal } from "../chaos/instances.ts";
import { badNetwork } from "../chaos/proxy.ts";
import { collectDying } from "../support/instance.ts";
import { unlimited } from "../support/without-limits.ts";
import { control } from "../support/world.ts";

/** As in test/chaos/run.ts: outcomes become unknown, and are settled, in seconds instead of minutes. */
const functionMs = 8_000;
const leaseSeconds = 3;
const settleSeconds = 13;
const longestDelayMs = 3_500;
const rates = { latency: 0.05, late: 0.02, lateReply: 0.02, status: 0.02, drop: 0.02, half: 0.015, garbage: 0.015 };

export interface TroubledApi {
  /** The instances' addresses, which stay the same when they are killed and started again. */
  urls: [string, ...string[]];
  /** Ends the troubles. Resolves with their counts, once everything works. */
  calm(): Promise<Record<string, number>>;
}

/** Local gateways that are killed every few seconds, while Retell, MongoDB and Redis misbehave. */
export async function aTroubledApi(seed: number): Promise<TroubledApi> {
  const { MONGODB_URL = "", UPSTASH_REDIS_REST_URL = "" } = process.env;
  const [mongo, upstash] = [new URL(MONGODB_URL), new URL(UPSTASH_REDIS_REST_URL)];
  const [toMongo, toUpstash] = await Promise.all([
    badNetwork(Number(mongo.port), seed, "mongo", { cut: 0.0015, slow: 0.005, peaceMs: [4_000, 10_000] }),
    badNetwork(Number(upstash.port), seed, "upstash", { cut: 0.004, slow: 0.01, peaceMs: [8_000, 30_000] }),
  ]);
  const env = {
    ...process.env,
    ...unlimited,
    TURN_LEASE_SECONDS: String(leaseSeconds),
    TURN_SETTLE_SECONDS: String(settleSeconds),
    PORT: "0",
    CORS_ORIGINS: "*",
    CHAOS_PORTS: JSON.stringify({ [mongo.port]: toMongo.port, [upstash.port]: toUpstash.port }),
    NODE_OPTIONS: `--import=${new URL("../chaos/preload.ts", import.meta.url).href}`,
  };
  const gateways = await Promise.all(
    [0, 1].map((number) =>
      mortal(new URL("../../dev/gateway.ts", import.meta.url), {
        ...{ seed, name: `gateway ${number}`, args: ["--function-ms", String(functionMs)], env },
        ...{ livesMs: [3_000, 15_000], stopRate: 0.2, onLine: collectDying },
        onDeath: (line) => console.error(line),
      }),
    ),
  );
  afterAll(() => Promise.all([...gateways, toMongo, toUpstash].map((one) => one.stop())));
  await control("retell", "POST", "/chaos", { seed, rates, maxMs: longestDelayMs });

  const sum = (name: "kills" | "stops") => gateways.reduce((all: number, one: Mortal) => all + one[name], 0);
  return {
    urls: gateways.map(({ url }) => url) as [string, ...string[]],
    async calm() {
      await control("retell", "DELETE", "/chaos");
      await Promise.all([toMongo.calm(), toUpstash.calm(), ...gateways.map((one) => one.stay())]);
      return { killed: sum("kills"), stopped: sum("stops"), "mongo cut": toMongo.troubles.cut ?? 0 };
    },
  };
}

/** Draws of one user, which depend on nothing that happens. */
export const diceOf = (seed: number, user: string) => new Dice(seed, user);
