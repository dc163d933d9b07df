import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { decodeJwt } from "jose";
import { type Collection, type Db, MongoClient, ObjectId } from "mongodb";
import { startChild } from "../../dev/child.ts";
import { demo, demoTokens, seedDemo } from "../../dev/seed/demo.ts";
import { type Services, startServices } from "../../dev/services.ts";
import type { SweepResult } from "../../lib/chat/sweep/run.ts";
import { type ReplicaSet, startReplicaSet } from "../support/replica-set.ts";
import { unlimited } from "../support/without-limits.ts";
import { type Door, isPending, persist } from "./api.ts";
import { check, type Found, Held } from "./checks.ts";
import { type Crowd, crowd, endChat, repeat } from "./clients.ts";
import { Dice } from "./dice.ts";
import { type Failovers, failovers } from "./failovers.ts";
import { type Mortal, mortal } from "./instances.ts";
import { Ledger } from "./ledger.ts";
import { movesOf } from "./moves.ts";
import { type Control, others } from "./others.ts";
import { type BadNetwork, badNetwork } from "./proxy.ts";
import { guardedAgent, guardedWord } from "./texts.ts";
import { compact, type Trace, traceTo, traceWrites } from "./trace.ts";

/** The parts of a run that can be left out, by name. */
export const parts = [
  /** Somebody else writes in the same chats at Retell. */
  "strangers",
  /** Retell, or a proxy in front of it, refuses calls, with and without an effect. */
  "refusals",
  /** MongoDB loses its primary. Without it there is one mongod. */
  "failovers",
  /** Chats of the old server, which goes on writing into them. */
  "old",
  /** A second stage on the same cluster, with the same workspace at Retell. */
  "stages",
  /** The instances' clocks are a minute apart. */
  "clocks",
  /** Instances are stopped for longer than a lease, then continue. */
  "stops",
  /** Retell's histories repeat entries, cut texts, change texts, or lose entries; tool call ids are reused. */
  "oddities",
] as const;
export type Part = (typeof parts)[number];

/** How large a run is. */
export interface Size {
  seed: number;
  sends: number;
  chats: number;
  clients: number;
  instances: number;
  without: Part[];
  /** How often the tenant is moved to another cluster, or back, while the clients send. */
  moves: number;
  /** Gets every line that the instances log. */
  onLine?: (line: string) => void;
  /** Gets every history that Retell's simulator shows, every write, and every answer to a message. */
  traceFile?: string;
  onProgress?: (line: string) => void;
}

/** The result of a run. */
export interface Report {
  ledger: Ledger;
  troubles: Record<string, number>;
  /** By the last sweeps: chats of creates whose outcome nobody learned. */
  orphansEnded: number;
  seconds: number;
}

/**
 * Instead of Lambda's 29 s, so that outcomes become unknown quickly. Calls to Retell end 5 s before the function: 3 s
 * after it began.
 */
const functionMs = 8_000;
/** Of the simulator's delays: longer than a call may take, so that Retell does what its caller has given up. */
const longestDelayMs = 3_500;
/** No longer than a call may take: senders that are alive lose their turns, which the fence by the turn's id must bear. */
const leaseSeconds = 3;
/**
 * Absence in Retell's history must prove nothing while a send may still show up there: it comes there within the 3 s
 * of its call, or 4.2 s later where its instance was stopped, and is done after the longest delay. The rest is for a
 * machine that has other things to do.
 */
const settleSeconds = 13;
/** After a 500 the API waits 15 s, whatever the settings, and in the shared chat each waits for all the others. */
const patienceMs = 180_000;
/** One instance's clock is this much ahead of the service's, another's this much behind. */
const clockOffMs = 30_000;

const rates = {
  latency: 0.05,
  late: 0.03,
  lateReply: 0.03,
  status: 0.02,
  drop: 0.02,
  half: 0.015,
  garbage: 0.015,
  hang: 0.004,
};
const refusalRates = { refused: 0.04, between: 0.03 };
const oddityRates = { repeat: 0.04, beginning: 0.03 };

const apiKey = "key_demo_of_the_simulator";
const database = "demo_support";
/** Of the second stage, whose subaccount is the same one: its central database was copied. */
const secondDatabase = "demo_support_2";

/** Agents by what Retell's history makes of what is said. All wait for the user: an opening is not what is tried here. */
const agents = {
  plain: { userText: ["trim"] },
  calls: { userText: ["trim"], toolCallIds: "reused" },
  words: { userText: ["trim", "lf", "nfd"] },
  guarded: { userText: ["trim", "nfc"], guardrail: { input: [guardedWord] } },
};
const agentIds = ["agent_quiet_plain", "agent_quiet_calls", "agent_quiet_words", guardedAgent] as const;

/** One stage: its instances, and the way in. */
interface Stage {
  door: Door;
  gateways: Mortal[];
  sweeper: Mortal;
  /** Of a process of this stage, whatever its clock. */
  env: NodeJS.ProcessEnv;
}

/**
 * Runs everything: services, bad networks, instances that are killed, and clients; then stops the faults and checks the
 * result. Only once per process, because the configuration is read once.
 */
export async function run(size: Size): Promise<Report> {
  const { seed } = size;
  const has = (part: Part) => !size.without.includes(part);
  const say = size.onProgress ?? (() => {});
  const startedAt = Date.now();
  const stops: (() => Promise<unknown>)[] = [];
  try {
    if (size.moves > 0 && has("old")) throw new Error("The old server knows one database: moves need --without old");
    const set = await startReplicaSet({ members: has("failovers") ? 3 : 1 });
    stops.push(set.stop);
    const otherSet = size.moves > 0 ? await startReplicaSet({ members: 1 }) : undefined;
    if (otherSet) stops.push(otherSet.stop);
    await ownConcernOnly(set);
    process.env.MONGODB_URL = set.url;
    const { traceFile } = size;
    const trace = traceFile === undefined ? undefined : traceTo(traceFile);
    // Inherited by the services, and by nothing else.
    const traced = {
      CHAOS_TRACE: traceFile,
      NODE_OPTIONS: `--import=${new URL("./preload-retell.ts", import.meta.url).href}`,
    };
    if (trace) Object.assign(process.env, traced);
    const services = await startServices({ log: () => {} });
    if (trace) for (const name of Object.keys(traced)) delete process.env[name];
    stops.push(() => services.stop());
    const mongo = new MongoClient(set.url);
    stops.push(() => mongo.close());
    const control: Control = (method, path, body) => ask(services.retell.control, method, path, body);

    const upstash = new URL(services.upstash.url);
    const allMembers = [...set.members, ...(otherSet?.members ?? [])];
    const toMongo = await Promise.all(
      allMembers.map(({ host }, index) =>
        // After an outage the API does not call Redis for 10 s, so the time between two outages must be longer.
        badNetwork(Number(new URL(`http://${host}`).port), seed, `mongo ${index}`, {
          cut: 0.0015,
          slow: 0.005,
          peaceMs: [4_000, 10_000],
        }),
      ),
    );
    const toUpstash = await badNetwork(Number(upstash.port), seed, "upstash", {
      cut: 0.004,
      slow: 0.01,
      peaceMs: [8_000, 30_000],
    });
    const networks = [...toMongo, toUpstash];
    stops.push(...networks.map(({ stop }) => stop));
    const instead = allMembers.map(({ host }, index) => [host.split(":")[1] ?? "", toMongo[index]?.port ?? 0]);
    const secret = randomBytes(32).toString("hex");
    const preloaded = {
      CHAOS_PORTS: JSON.stringify(Object.fromEntries(instead)),
      NODE_OPTIONS: `--import=${new URL("./preload.ts", import.meta.url).href}`,
    };
    const settings = { secret, services };
    upstash.port = String(toUpstash.port);

    const ledger = new Ledger();
    const startStage = (name: string, mongoUrl: string, instances: number) =>
      aStage({
        size,
        name,
        ledger,
        instances,
        stops,
        env: { ...environment(settings, name, mongoUrl, upstash), ...preloaded },
        trace,
      });
    // The seed finds its configuration where the instances find theirs; it goes past the bad network.
    Object.assign(process.env, environment(settings, "chaos", set.url, new URL(services.upstash.url)));
    await seedStage(mongo, set.url, database);
    const first = await startStage("chaos", set.url, size.instances);
    let second: Stage | undefined;
    if (has("stages")) {
      const url = set.url.replace("/scalai?", "/scalai_2?");
      await seedStage(mongo, url, secondDatabase);
      second = await startStage("chaos-2", url, 1);
    }
    const stages = second ? [first, second] : [first];

    for (const [name, profile] of Object.entries(agents)) {
      const given = has("oddities") ? profile : {};
      await control("PUT", `/agents/agent_quiet_${name}`, { begin_message: "", opening: "none", ...given });
    }
    await control("POST", "/chaos", {
      seed,
      rates: { ...rates, ...(has("refusals") ? refusalRates : {}), ...(has("oddities") ? oddityRates : {}) },
      maxMs: longestDelayMs,
    });
    await control("PUT", `/webhooks/${apiKey}`, {
      url: `${first.gateways[0]?.url}/api/webhooks/retell/${demo.subaccountId}`,
      disorder: { seed, rates: { delay: 0.2, duplicate: 0.2, swap: 0.1, drop: 0.1 }, maxMs: 2_000 },
    });

    const chats = mongo.db(database).collection("chats");
    if (trace) stops.push(traceWrites(chats, trace));
    const oldChats = has("old") ? await putOldChats(control, chats, seed, Math.floor(size.chats / 4)) : [];
    const there = others({
      parts: { strangers: has("strangers"), oddities: has("oddities") },
      control,
      ledger,
      chats,
      oldChats: new Set(oldChats),
    });
    const failing = has("failovers") ? failovers(set, seed) : undefined;
    const moving = otherSet && movesOf({ seed, home: set.url, away: otherSet.url, database });
    let toldAt = 0;
    const common = { seed, agentIds, others: there };
    const onSend = (done: number) => {
      if (moving && done >= ((moving.begun + 1) * size.sends) / (size.moves + 2)) moving.begin(size.moves);
      if (Date.now() - toldAt < 10_000) return;
      toldAt = Date.now();
      say(`${Math.round((Date.now() - startedAt) / 1_000)} s: ${done} of ${size.sends} messages taken up`);
    };
    const ofSecond = second ? Math.floor(size.sends / 10) : 0;
    const crowds: Crowd[] = [
      { ...common, ...size, name: "a", door: first.door, sends: size.sends - ofSecond, oldChats, onSend },
    ];
    if (second) {
      const few = { clients: Math.ceil(size.clients / 8), chats: Math.ceil(size.chats / 8), sends: ofSecond };
      crowds.push({ ...common, ...few, name: "b", door: second.door, oldChats: [] });
    }
    const open = await Promise.all(crowds.map(crowd));

    await moving?.done();
    say("Peace: faults stop, everything is settled");
    await there.rest();
    await Promise.all([
      failing?.calm(),
      ...networks.map((network) => network.calm()),
      control("DELETE", "/chaos"),
      ...stages.flatMap(({ gateways, sweeper }) => [...gateways, sweeper].map((instance) => instance.stay())),
    ]);
    const lastMongo = moving ? new MongoClient(moving.url()) : mongo;
    stops.push(() => lastMongo.close());
    const databases = [lastMongo.db(moving?.name() ?? database), mongo.db(secondDatabase)];
    for (const [index, stage] of stages.entries()) {
      const dice = new Dice(seed, "rest", index);
      await bringToRest(stage.door, dice, open[index] ?? [], databases[index] as Db);
    }
    await repeatSome(stages, ledger, seed);
    let orphansEnded = 0;
    for (const { sweeper, env } of stages) {
      await sweeper.stop();
      // Chats younger than ten minutes are not orphans yet, so the last sweep runs as if twenty minutes later.
      const args = ["--ahead-ms", String(20 * 60_000)];
      const options = { args, env, ...(size.onLine ? { onStdout: size.onLine, onStderr: size.onLine } : {}) };
      const last = await startChild<SweepResult>(new URL("./sweeper.ts", import.meta.url), options);
      await last.stop();
      orphansEnded += last.about.orphansEnded;
    }
    const documents = await Promise.all(databases.map((db) => db.collection("chats").find().toArray()));
    const userId = String(decodeJwt((await demoTokens(secret)).owner).id);
    const { chats: held } = Held.parse(await control("GET", "/chats"));
    const found: Found = { subaccountId: demo.subaccountId, userId, documents: documents.flat(), held };
    if (trace) for (const one of [...found.documents, ...found.held]) trace("end", compact(one) as object);
    check(ledger, found);
    const troubles = {
      ...deaths(stages),
      ...ofNetworks(toMongo, toUpstash),
      ...ofSet(failing),
      ...there.troubles,
      ...moving?.troubles,
    };
    return { ledger, troubles, orphansEnded, seconds: Math.round((Date.now() - startedAt) / 1_000) };
  } finally {
    for (const stop of stops.reverse()) await stop().catch(() => {});
  }
}

/** What a write is acknowledged by is what the API itself asks for: left to its default, the set asks for little. */
async function ownConcernOnly(set: ReplicaSet): Promise<void> {
  const client = new MongoClient(set.url);
  try {
    const writeConcern = { w: "majority" };
    await client.db("admin").command({ setDefaultRWConcern: 1, defaultWriteConcern: { w: 1 }, writeConcern });
  } finally {
    await client.close();
  }
}

/** The demo tenant with the agents of a run, its chats in a database of their own. */
async function seedStage(mongo: MongoClient, url: string, name: string): Promise<void> {
  await seedDemo(url);
  const central = mongo.db(/\/(\w+)\?/.exec(url)?.[1]);
  const _id = new ObjectId(demo.subaccountId);
  await central.collection("subaccounts").updateOne({ _id }, { $set: { databaseName: name } });
  const indexes = await mongo.db(database).collection("chats").indexes();
  const own = mongo.db(name);
  if (name !== database) {
    for (const { v: _v, key, name: index, ...options } of indexes) {
      if (index !== "_id_") await own.collection("chats").createIndex(key, { ...options, name: index });
    }
  }
  const agents = agentIds.map((agentId) => ({ agentId, subaccountId: demo.subaccountId, name: agentId }));
  await own.collection("chatagents").insertMany(agents);
}

interface StageOptions {
  size: Size;
  name: string;
  ledger: Ledger;
  instances: number;
  env: NodeJS.ProcessEnv;
  stops: (() => Promise<unknown>)[];
  trace: Trace | undefined;
}

async function aStage({ size, name, ledger, instances, env, stops, trace }: StageOptions): Promise<Stage> {
  const { seed, without } = size;
  const common = {
    seed,
    stopRate: without.includes("stops") ? 0 : 0.3,
    onDeath: (line: string) => ledger.breaks("instances that died by themselves", line),
  };
  const off = (number: number) => (without.includes("clocks") ? 0 : [clockOffMs, -clockOffMs, 0][number % 3]);
  const start = async (file: string, number: number, args: string[], livesMs: readonly [number, number]) => {
    let itself: Mortal | undefined;
    const onLine = (line: string) => {
      const isBad = /unhandled rejection/.test(line) || (/Task timed out/.test(line) && !itself?.wasStopped());
      if (isBad) ledger.breaks("unhandled rejections", line);
      size.onLine?.(line);
    };
    const own = { ...env, CHAOS_CLOCK_MS: String(off(number)) };
    const options = { ...common, name: `${name} ${file} ${number}`, args, livesMs, onLine, env: own };
    itself = await mortal(new URL(file, import.meta.url), options);
    stops.push(itself.stop);
    return itself;
  };
  const gateways = await Promise.all(
    Array.from({ length: instances }, (_, number) =>
      start("../../dev/gateway.ts", number, ["--function-ms", String(functionMs)], [3_000, 25_000]),
    ),
  );
  const sweeper = await start("./sweeper.ts", 1, [], [5_000, 30_000]);
  const byUrl = new Map(gateways.map((gateway) => [gateway.url, gateway]));
  const door: Door = {
    urls: [...byUrl.keys()],
    subaccountId: demo.subaccountId,
    token: (await demoTokens(String(env.JWT_SECRET))).owner,
    ledger,
    ...(trace ? { trace } : {}),
    wasStopped: (url) => byUrl.get(url)?.wasStopped() ?? false,
    patienceMs,
  };
  return { door, gateways, sweeper, env };
}

/** The environment of a stage's processes. */
function environment(
  { secret, services }: { secret: string; services: Services },
  stage: string,
  mongoUrl: string,
  upstashUrl: URL,
): Record<string, string> {
  return {
    ...process.env,
    STAGE: stage,
    MONGODB_URL: mongoUrl,
    UPSTASH_REDIS_REST_URL: upstashUrl.href.replace(/\/$/, ""),
    UPSTASH_REDIS_REST_TOKEN: services.upstash.token,
    RETELL_BASE_URL: services.retell.url,
    JWT_SECRET: secret,
    ENCRYPTION_KEY: secret,
    TURN_LEASE_SECONDS: String(leaseSeconds),
    TURN_SETTLE_SECONDS: String(settleSeconds),
    PORT: "0",
    ...unlimited,
  };
}

/** Chats as the old server leaves them: Retell has the whole history, the document only the last turn's reply. */
async function putOldChats(control: Control, chats: Collection, seed: number, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let number = 0; number < count; number++) {
    const chatId = `chat_${String(seed).padStart(12, "0")}${String(number).padStart(15, "0")}`;
    const at = Date.now() - 3_600_000 / 2;
    const said = [
      ["user", `old question ${number}`],
      ["agent", `Old answer ${number}`],
      ["user", "ok"],
      ["agent", `You are welcome, ${number}. Anything else?`],
    ] as const;
    const entries = said.map(([role, content], place) => ({
      message_id: `message_old_${number}_${place}`,
      role,
      content,
      created_timestamp: at + place * 1_000,
      truth: { said: content, isStrangers: true },
    }));
    const chat = { chat_id: chatId, key: apiKey, agent_id: agentIds[number % agentIds.length], start_timestamp: at };
    await control("POST", "/chats", { ...chat, entries });
    const [last] = entries.slice(-1).map(({ truth: _, ...entry }) => entry);
    const date = new Date(at);
    await chats.insertOne({
      chat_id: chatId,
      agent_id: chat.agent_id,
      chat_status: "ongoing",
      start_timestamp: at,
      end_timestamp: null,
      transcript: "",
      message_count: 1,
      messages: [last],
      metadata: {},
      retell_llm_dynamic_variables: { agent_id: chat.agent_id, subaccount_id: demo.subaccountId, chat_id: chatId },
      collected_dynamic_variables: {},
      chat_cost: null,
      chat_analysis: null,
      subaccountId: demo.subaccountId,
      createdBy: "64a000000000000000000001",
      createdAt: date,
      updatedAt: date,
      lastMessageAt: date,
      operationId: crypto.randomUUID(),
      retellAccountId: "64c000000000000000000001",
    });
    ids.push(chatId);
  }
  return ids;
}

/** Ends a fifth of the chats, then reads every chat until nothing in it is pending. */
async function bringToRest(door: Door, dice: Dice, open: string[], db: Db): Promise<void> {
  for (const chatId of open) if (dice.chance(0.2)) await endChat(door, dice, chatId);
  // A tombstone is not a chat.
  const all = await db.collection("chats").distinct("chat_id", { "internal.tombstone": { $exists: false } });
  const until = Date.now() + 60_000;
  await Promise.all(all.map((chatId) => restOf(door, dice, String(chatId), until)));
}

async function restOf(door: Door, dice: Dice, chatId: string, until: number): Promise<void> {
  while (Date.now() < until) {
    const known = await persist(door, dice, "transcript", { chatId, query: "?consistency=strong" });
    if (known.kind !== "done") break;
    if (!known.data.messages.some(isPending)) return;
    await delay(500);
  }
  door.ledger.breaks("stuck", `${chatId} does not come to rest`);
}

/** Repeats some of the accepted sends at the end of the run. */
async function repeatSome([first, second]: Stage[], ledger: Ledger, seed: number): Promise<void> {
  const dice = new Dice(seed, "repeats");
  const rate = Math.min(1, 1_000 / ledger.accepted.length);
  const left = ledger.accepted.filter(() => dice.chance(rate));
  const next = async (): Promise<void> => {
    for (let told = left.pop(); told; told = left.pop()) {
      const stage = told.key.startsWith(`${seed}-b-`) ? second : first;
      if (stage) await repeat(stage.door, dice, told);
    }
  };
  await Promise.all(Array.from({ length: 8 }, next));
}

async function ask(base: string, method: string, path: string, body?: object): Promise<unknown> {
  const answer = await fetch(base + path, { method, ...(body ? { body: JSON.stringify(body) } : {}) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

function deaths(stages: Stage[]): Record<string, number> {
  const gateways = stages.flatMap((stage) => stage.gateways);
  const sweepers = stages.map(({ sweeper }) => sweeper);
  const sum = (instances: Mortal[], name: "kills" | "stops") => instances.reduce((all, one) => all + one[name], 0);
  return {
    "gateways killed": sum(gateways, "kills"),
    "gateways stopped": sum(gateways, "stops"),
    "sweepers killed": sum(sweepers, "kills"),
    "sweepers stopped": sum(sweepers, "stops"),
  };
}

function ofNetworks(toMongo: BadNetwork[], toUpstash: BadNetwork): Record<string, number> {
  const all: Record<string, number> = {};
  for (const [name, networks] of [["Mongo", toMongo] as const, ["Redis", [toUpstash]] as const]) {
    for (const { troubles } of networks) {
      for (const [kind, count] of Object.entries(troubles)) {
        all[`${name} ${kind}`] = (all[`${name} ${kind}`] ?? 0) + count;
      }
    }
  }
  return all;
}

function ofSet(failing: Failovers | undefined): Record<string, number> {
  return { "primaries killed": failing?.troubles.killed ?? 0, "primaries frozen": failing?.troubles.frozen ?? 0 };
}
