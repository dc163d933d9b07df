import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { MongoClient } from "mongodb";
import { findMongod } from "../../dev/mongod/find.ts";
import { refuse, runKept } from "../../dev/mongod/run.ts";

const NAME = "rs";
const DATABASE = "scalai";
const READY_WITHIN_MS = 60_000;

/** How to start a replica set; everything has a default. */
export interface ReplicaSetOptions {
  /** Members that hold data. Default 3. */
  members?: number;
  /** Adds a member that votes and holds no data. */
  arbiter?: boolean;
  /** A primary that has been silent for this long is replaced. Default 2,000. */
  electionMs?: number;
}

/** One mongod of a replica set. */
export interface Member {
  host: string;
  isArbiter: boolean;
  /** Ends it with SIGKILL, like a loss of power. Journaled writes survive. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, on the same port and data. */
  start(): Promise<void>;
  /** Stops the process with SIGSTOP: its connections stay open and nothing is answered. */
  freeze(): void;
  /** Continues a frozen process. */
  thaw(): void;
  /** Stops or resumes copying from the primary. The member keeps running and voting. */
  setReplicating(isOn: boolean): Promise<void>;
}

/** A replica set of several mongods on 127.0.0.1. */
export interface ReplicaSet {
  /** Names all members, the set and the database, and no write concern. */
  url: string;
  members: Member[];
  /** Waits until a member is primary, and returns it. With `other`, waits for a primary that is not that member. */
  primary(other?: Member): Promise<Member>;
  /** Waits until every member is running and copies, after `start` or a rollback. */
  ready(): Promise<void>;
  /** Members that hold data and are not the primary. */
  secondaries(): Promise<Member[]>;
  /** Kills all members and removes their data. */
  stop(): Promise<void>;
}

/** Starts a replica set, and waits until it has a primary and all members copy from it. */
export async function startReplicaSet(options: ReplicaSetOptions = {}): Promise<ReplicaSet> {
  const { members: count = 3, arbiter = false, electionMs = 2_000 } = options;
  const { binary } = await findMongod();
  const folder = await mkdtemp(join(tmpdir(), "scalai-set-"));
  const members: StartedMember[] = [];
  const stop = async () => {
    await Promise.all(members.map((member) => member.kill()));
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };

  try {
    const starting = Array.from({ length: count + (arbiter ? 1 : 0) }, (_, i) =>
      startMember(binary, join(folder, String(i)), i === count).then((member) => members.push(member)),
    );
    const failed = (await Promise.allSettled(starting)).find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
    members.sort((one, other) => Number(one.isArbiter) - Number(other.isArbiter)); // an arbiter cannot initiate a set
    const config = {
      _id: NAME,
      members: members.map(({ host, isArbiter }, _id) => ({ _id, host, arbiterOnly: isArbiter })),
      settings: { electionTimeoutMillis: electionMs, heartbeatIntervalMillis: Math.round(electionMs / 4) },
    };
    await members[0]?.admin({ replSetInitiate: config });
    await ready(members);
  } catch (error) {
    await stop();
    throw error;
  }

  const primary = (other?: Member) =>
    until("there is a primary", async () => {
      for (const member of members) if (member !== other && (await member.hello())?.isWritablePrimary) return member;
      return undefined;
    });
  const hosts = members.filter(({ isArbiter }) => !isArbiter).map(({ host }) => host);
  return {
    url: `mongodb://${hosts.join(",")}/${DATABASE}?replicaSet=${NAME}`,
    members,
    primary,
    ready: () => ready(members),
    async secondaries() {
      const theirs = await primary();
      return members.filter((member) => member !== theirs && !member.isArbiter);
    },
    stop,
  };
}

async function ready(members: StartedMember[]): Promise<void> {
  await until("every member is the primary, a secondary or an arbiter", async () => {
    const states = await Promise.all(members.map(({ hello }) => hello()));
    const isReady = states.every((state) => state?.isWritablePrimary || state?.secondary || state?.arbiterOnly);
    return isReady && states.some((state) => state?.isWritablePrimary);
  });
}

interface Hello {
  isWritablePrimary?: boolean;
  secondary?: boolean;
  arbiterOnly?: boolean;
}

interface StartedMember extends Member {
  admin(command: object): Promise<unknown>;
  /** Undefined when it does not answer. */
  hello(): Promise<Hello | undefined>;
}

async function startMember(binary: string, dbPath: string, isArbiter: boolean): Promise<StartedMember> {
  await mkdir(dbPath);
  const run = async (port: number) => {
    const flags = ["--replSet", NAME, "--bind_ip", "127.0.0.1", "--port", String(port), "--dbpath", dbPath];
    flags.push("--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64");
    flags.push("--setParameter", "diagnosticDataCollectionEnabled=false", "--setParameter", "enableTestCommands=1");
    const server = runKept("", binary, flags);
    return { server, port: await Promise.race([server.listening, server.ended.then(refuse)]) };
  };

  let { server, port } = await run(0);
  const host = `127.0.0.1:${port}`;
  const admin = async (command: object) => {
    const client = new MongoClient(`mongodb://${host}/?directConnection=true`, {
      serverSelectionTimeoutMS: 2_000,
      socketTimeoutMS: 10_000,
    });
    try {
      return await client.db("admin").command(command);
    } finally {
      await client.close();
    }
  };
  return {
    host,
    isArbiter,
    admin,
    hello: () => admin({ hello: 1 }).catch(() => undefined),
    kill: () => server.stop(),
    async start() {
      ({ server } = await run(port));
    },
    freeze: () => void process.kill(server.pid(), "SIGSTOP"),
    thaw: () => void process.kill(server.pid(), "SIGCONT"),
    async setReplicating(isOn) {
      await admin({ configureFailPoint: "stopReplProducer", mode: isOn ? "off" : "alwaysOn" });
    },
  };
}

/** Calls `ask` until it returns a value. */
async function until<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + READY_WITHIN_MS;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`Not within ${READY_WITHIN_MS / 1_000} s: ${what}`);
    await delay(50);
  }
}
