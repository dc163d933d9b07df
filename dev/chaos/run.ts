import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { decodeJwt } from "jose";
import { MongoClient } from "mongodb";
import type { Swept } from "../../lib/chat/sweep.ts";
import { startChild } from "../child.ts";
import { demo, demoTokens, seedDemo } from "../seed/demo.ts";
import { startServices } from "../services.ts";
import { unlimited } from "../unlimited.ts";
import { type Door, persist } from "./api.ts";
import { check, type Found, Held } from "./checks.ts";
import { crowd, endChat } from "./clients.ts";
import { Dice } from "./dice.ts";
import { type Mortal, mortal } from "./instances.ts";
import { Ledger } from "./ledger.ts";
import { badNetwork } from "./proxy.ts";

/** How large a run is. */
export interface Size {
  seed: number;
  sends: number;
  chats: number;
  clients: number;
  instances: number;
  /** Gets every line that the instances log. */
  onLine?: (line: string) => void;
  onProgress?: (line: string) => void;
}

/** What a run has come to. */
export interface Report {
  ledger: Ledger;
  troubles: Record<string, number>;
  /** By the last sweep: chats of creates whose outcome nobody learned. */
  orphansEnded: number;
  seconds: number;
}

/**
 * Instead of Lambda's 29 s, so that outcomes become unknown quickly. Calls to Retell end 5 s before the function: 3 s
 * after it began.
 */
const functionMs = 8_000;
/** Of the simulator's delays: longer than a call may take, so that Retell does what its caller has given up. */
const longestDelayMs = 4_000;
/** No longer than a call may take: senders that are alive lose their turns, which the fence by the turn's id must bear. */
const leaseSeconds = 3;
/**
 * Absence in Retell's history must prove nothing while a send may still show up there: it comes there within the 3 s
 * of its call, and is done after the longest delay. The remaining 2 s are for a machine that has other things to do.
 */
const settleSeconds = 9;
/** After a 500 the API waits 15 s, whatever the settings, and in the shared chat each waits for all the others. */
const patienceMs = 180_000;

const rates = {
  latency: 0.05,
  late: 0.03,
  lateReply: 0.03,
  status: 0.03,
  drop: 0.02,
  half: 0.015,
  garbage: 0.015,
  hang: 0.004,
};

/**
 * Runs it all: services, bad networks, mortal instances and clients; then peace, and the checks. Once in a process: the
 * configuration that it makes is read once.
 */
export async function run(size: Size): Promise<Report> {
  const { seed } = size;
  const say = size.onProgress ?? (() => {});
  const startedAt = Date.now();
  const stops: (() => Promise<unknown>)[] = [];
  try {
    const services = await startServices({ log: () => {} });
    stops.push(() => services.stop());
    const secret = randomBytes(32).toString("hex");
    const mongodb = new URL(services.mongodb.url);
    const upstash = new URL(services.upstash.url);
    const [toMongo, toUpstash] = await Promise.all([
      // After an outage of Redis the API leaves it alone for 10 s: it needs longer times of peace to be used at all.
      badNetwork(Number(mongodb.port), seed, "mongo", { cut: 0.0015, slow: 0.005, peaceMs: [4_000, 10_000] }),
      badNetwork(Number(upstash.port), seed, "upstash", { cut: 0.004, slow: 0.01, peaceMs: [8_000, 30_000] }),
    ]);
    stops.push(toMongo.stop, toUpstash.stop);

    // The seed finds its configuration where the instances find theirs; it goes past the bad network.
    Object.assign(process.env, environment(secret, services, mongodb, upstash));
    await seedDemo(services.mongodb.url);
    const token = (await demoTokens(secret)).owner;
    const ledger = new Ledger();
    mongodb.port = String(toMongo.port);
    mongodb.search = "?directConnection=true"; // or the driver asks the server for its own address, and goes there
    upstash.port = String(toUpstash.port);
    const env = { ...process.env, ...environment(secret, services, mongodb, upstash) };
    const onLine = (line: string) => {
      if (/unhandled rejection|Task timed out/.test(line)) ledger.breaks("unhandled rejections", line);
      size.onLine?.(line);
    };
    const common = { seed, env, onLine, onDeath: (line: string) => died(ledger, line) };

    const gateways = await Promise.all(
      Array.from({ length: size.instances }, (_, number) =>
        mortal(new URL("../gateway.ts", import.meta.url), {
          ...common,
          name: `gateway ${number}`,
          args: ["--function-ms", String(functionMs)],
          livesMs: [3_000, 25_000],
        }),
      ),
    );
    stops.push(...gateways.map(({ stop }) => stop));
    const sweeper = await mortal(new URL("./sweeper.ts", import.meta.url), {
      ...common,
      name: "sweeper",
      args: [],
      livesMs: [5_000, 30_000],
    });
    stops.push(sweeper.stop);

    const control = (method: string, path: string, body?: object) => ask(services.retell.control, method, path, body);
    await control("POST", "/chaos", { seed, rates, maxMs: longestDelayMs });
    await control("PUT", "/webhooks/key_demo_of_the_simulator", {
      url: `${gateways[0]?.url}/api/webhooks/retell/${demo.subaccountId}`,
      disorder: { seed, rates: { delay: 0.2, duplicate: 0.2, swap: 0.1, drop: 0.1 }, maxMs: 2_000 },
    });

    const urls = gateways.map(({ url }) => url);
    const door: Door = { urls, subaccountId: demo.subaccountId, token, ledger, patienceMs };
    let toldAt = 0;
    const chats = await crowd({
      ...size,
      door,
      // The one that waits for the user: an opening that comes late, between two turns, is not looked for by the API.
      agentIds: [demo.agentIds[1]],
      onSend: (done) => {
        if (Date.now() - toldAt < 10_000) return;
        toldAt = Date.now();
        say(`${Math.round((Date.now() - startedAt) / 1_000)} s: ${done} of ${size.sends} messages taken up`);
      },
    });

    say("Peace: faults stop, everything is settled");
    await Promise.all([
      toMongo.calm(),
      toUpstash.calm(),
      control("DELETE", "/chaos"),
      ...gateways.map((g) => g.stay()),
    ]);
    await sweeper.stay();
    await bringToRest(door, seed, chats, services.mongodb.url);
    await sweeper.stop();
    // Chats younger than ten minutes are nobody's orphans yet: the last sweep runs twenty minutes later.
    const args = ["--ahead-ms", String(20 * 60_000)];
    const last = await startChild<Swept>(new URL("./sweeper.ts", import.meta.url), { args, env });
    await last.stop();
    await checkAll(ledger, services.mongodb.url, token, Held.parse(await control("GET", "/chats")).chats);
    const troubles = { ...deaths(gateways, sweeper), ...prefixed("Mongo", toMongo), ...prefixed("Redis", toUpstash) };
    const { orphansEnded } = last.about;
    return { ledger, troubles, orphansEnded, seconds: Math.round((Date.now() - startedAt) / 1_000) };
  } finally {
    for (const stop of stops.reverse()) await stop().catch(() => {});
  }
}

function environment(
  secret: string,
  { upstash, retell }: { upstash: { token: string }; retell: { url: string } },
  mongoUrl: URL,
  upstashUrl: URL,
): Record<string, string> {
  return {
    STAGE: "chaos",
    MONGODB_URL: mongoUrl.href,
    UPSTASH_REDIS_REST_URL: upstashUrl.href.replace(/\/$/, ""),
    UPSTASH_REDIS_REST_TOKEN: upstash.token,
    RETELL_BASE_URL: retell.url,
    JWT_SECRET: secret,
    ENCRYPTION_KEY: secret,
    TURN_LEASE_SECONDS: String(leaseSeconds),
    TURN_SETTLE_SECONDS: String(settleSeconds),
    PORT: "0",
    ...unlimited,
  };
}

/** Ends a fifth of the chats, then reads every chat until nothing in it is pending. */
async function bringToRest(door: Door, seed: number, open: string[], mongodbUrl: string): Promise<void> {
  const dice = new Dice(seed, "rest");
  for (const chatId of open) if (dice.chance(0.2)) await endChat({ door }, dice, chatId);
  const all = await withDocuments(mongodbUrl, (chats) => chats.distinct("chat_id"));
  const until = Date.now() + 60_000;
  await Promise.all(all.map((chatId) => restOf(door, dice, String(chatId), until)));
}

async function restOf(door: Door, dice: Dice, chatId: string, until: number): Promise<void> {
  while (Date.now() < until) {
    const known = await persist(door, dice, "transcript", { chatId, query: "?consistency=strong" });
    if (known.kind !== "done") break;
    if (!known.data.messages.some(({ delivery }) => delivery === "pending")) return;
    await delay(500);
  }
  door.ledger.breaks("stuck", `${chatId} does not come to rest`);
}

async function checkAll(ledger: Ledger, mongodbUrl: string, token: string, held: Found["held"]): Promise<void> {
  const documents = await withDocuments(mongodbUrl, (chats) => chats.find().toArray());
  check(ledger, { subaccountId: demo.subaccountId, userId: String(decodeJwt(token).id), documents, held });
}

async function withDocuments<T>(
  url: string,
  use: (chats: ReturnType<ReturnType<MongoClient["db"]>["collection"]>) => Promise<T>,
): Promise<T> {
  const client = new MongoClient(url);
  try {
    return await use(client.db("demo_support").collection("chats"));
  } finally {
    await client.close();
  }
}

async function ask(base: string, method: string, path: string, body?: object): Promise<unknown> {
  const answer = await fetch(base + path, { method, ...(body ? { body: JSON.stringify(body) } : {}) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

function died(ledger: Ledger, line: string): void {
  ledger.breaks("instances that died by themselves", line);
}

function deaths(gateways: Mortal[], sweeper: Mortal): Record<string, number> {
  return {
    "gateways killed": gateways.reduce((sum, { kills }) => sum + kills, 0),
    "sweepers killed": sweeper.kills,
  };
}

function prefixed(name: string, { troubles }: { troubles: Record<string, number> }): Record<string, number> {
  return Object.fromEntries(Object.entries(troubles).map(([kind, count]) => [`${name} ${kind}`, count]));
}
