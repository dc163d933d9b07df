import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { MongoClient, MongoServerError } from "mongodb";
import type { Mongod } from "./mongod/binary.ts";
import { findMongod } from "./mongod/find.ts";
import { aborted, refuse, runKept } from "./mongod/run.ts";

const REPLICA_SET = "rs0";
const DATABASE = "scalai";
const PRIMARY_WITHIN_MS = 30_000;

const NOT_YET_INITIALIZED = 94;
const ALREADY_INITIALIZED = 23;

/** How to start mongod; everything has a default. */
export interface MongodOptions {
  /** The data folder. Default: a temporary folder that is removed when the server ends. */
  dbPath?: string;
  /** Default: a free port. It may differ from the port that `dbPath` was last used with. */
  port?: number;
  /** More arguments for mongod, for example `["--setParameter", "enableTestCommands=1"]`. */
  args?: string[];
  /** Default: `findMongod()`. */
  mongod?: Mongod;
  /** Called once if mongod ends without `stop()`, with a phrase that says how. */
  onExit?: (reason: string) => void;
  signal?: AbortSignal;
}

/** A running one-node replica set. */
export interface RunningMongod {
  /** Names the replica set and the database, so that transactions work and `client.db()` is the central database. */
  url: string;
  pid: number;
  source: string;
  /** Kills mongod and waits until it has ended. No acknowledged write is lost: all are in the journal. */
  stop(): Promise<void>;
}

/** Starts mongod on 127.0.0.1 as a replica set of one and waits until it accepts writes. */
export async function startMongod(options: MongodOptions = {}): Promise<RunningMongod> {
  const { binary, source } = options.mongod ?? (await findMongod({ signal: options.signal }));
  const temporary = options.dbPath ? "" : await mkdtemp(join(tmpdir(), "scalai-mongod-"));
  const dbPath = resolve(options.dbPath ?? temporary);
  await mkdir(dbPath, { recursive: true });

  const flags = ["--replSet", REPLICA_SET, "--bind_ip", "127.0.0.1", "--port", String(options.port ?? 0)];
  flags.push("--dbpath", dbPath, "--nounixsocket", "--wiredTigerCacheSizeGB", "0.5", "--oplogSize", "128");
  flags.push("--setParameter", "diagnosticDataCollectionEnabled=false", ...(options.args ?? []));
  const server = runKept(temporary, binary, flags);

  try {
    const port = await Promise.race([server.listening, server.ended.then(refuse), aborted(options.signal)]);
    await Promise.race([becomePrimary(`127.0.0.1:${port}`), server.ended.then(refuse), aborted(options.signal)]);
    let stopping = false;
    void server.ended.then((reason) => stopping || options.onExit?.(reason));
    const stop = () => {
      stopping = true;
      return server.stop();
    };
    const url = `mongodb://127.0.0.1:${port}/${DATABASE}?replicaSet=${REPLICA_SET}`;
    return { url, pid: server.pid(), source, stop };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/**
 * Makes the node primary of its set of one. If the data folder was used before, its stored configuration may name
 * another port. Then the node is not a member of its own set and waits forever, so the configuration is replaced by force.
 */
async function becomePrimary(host: string): Promise<void> {
  const client = new MongoClient(`mongodb://${host}/?directConnection=true`, { serverSelectionTimeoutMS: 10_000 });
  try {
    const admin = client.db("admin");
    const deadline = Date.now() + PRIMARY_WITHIN_MS;
    while (!(await admin.command({ hello: 1 })).isWritablePrimary) {
      if (Date.now() > deadline) refuse(`it was not primary after ${PRIMARY_WITHIN_MS / 1000} s`);
      const config = await orCode(admin.command({ replSetGetConfig: 1 }), NOT_YET_INITIALIZED);
      if (!config) {
        // While mongod still reads the configuration of an earlier run, it answers "not yet initialized" to
        // replSetGetConfig and "already initialized" to replSetInitiate.
        const members = [{ _id: 0, host }];
        await orCode(admin.command({ replSetInitiate: { _id: REPLICA_SET, members } }), ALREADY_INITIALIZED);
      } else if (config.config.members[0].host !== host) {
        const { _id, version, ...rest } = config.config;
        const members = [{ ...rest.members[0], host }];
        await admin.command({ replSetReconfig: { ...rest, _id, version: version + 1, members }, force: true });
      }
      await delay(10);
    }
  } finally {
    await client.close();
  }
}

async function orCode<T>(answer: Promise<T>, code: number): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof MongoServerError && error.code === code) return undefined;
    throw error;
  }
}
