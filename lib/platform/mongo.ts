import { setImmediate } from "node:timers/promises";
import type { Db, DbOptions, MongoClient, MongoClientOptions } from "mongodb";
import { config } from "./config.ts";
import { ApiError } from "./errors.ts";
import { isConnectionError } from "./mongo-errors.ts";

/** Longest wait for one operation, so that an answer leaves within 3 s when Mongo is away. */
const operationMs = 2_300;
const maxClients = 10;
/** A client that was not used for so long is closed, because an open client keeps monitoring its servers. */
const idleMs = 5 * 60_000;

const options: MongoClientOptions = {
  appName: "scalai-chat",
  serverSelectionTimeoutMS: 2_000,
  connectTimeoutMS: 2_000,
  // An operation that was given up must not keep its connection, and must not be retried and take effect later.
  socketTimeoutMS: operationMs,
  retryReads: false,
  retryWrites: false,
  waitQueueTimeoutMS: 2_000,
  maxPoolSize: 10, // one invocation at a time in Lambda; the local gateway runs them side by side
  minPoolSize: 0,
  maxIdleTimeMS: 60_000,
  readPreference: "primary", // the connection string must not send the first connection to a secondary
};

/**
 * How every database is written, whatever its connection string says. An acknowledged write is in the journal of a
 * majority of the replica set, so that no failover loses it. The server stops waiting for the majority before `bounded`
 * does. The write is applied then, but not durable, and the driver throws an error.
 */
const durable: DbOptions = {
  writeConcern: { w: "majority", wtimeoutMS: 2_000, journal: true },
  readPreference: "primary",
};

/**
 * Awaits one operation for 2.3 s at most. The driver's own limits each apply to a part of an operation (to find a server,
 * to get a socket), so none of them bounds the whole.
 *
 * @throws CONNECTION_FAILED when Mongo cannot be reached, does not answer in time, refuses the user, or has no majority.
 *         The operation may still take effect. An error about the request itself is thrown unchanged.
 */
export async function bounded<T>(operation: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ApiError("CONNECTION_FAILED")), operationMs);
  });
  try {
    return await Promise.race([operation, late]);
  } catch (error) {
    if (isConnectionError(error)) {
      throw new ApiError("CONNECTION_FAILED", { cause: error });
    }
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Loads the driver on first use. It is two thirds of the code, and answers from the cache do not need it. All other
 * imports of it must be types.
 */
export const driver = () => import("./mongo-driver.ts");

/**
 * Waits until the driver has heard which servers closed their connections while this Lambda was frozen. It learns of a
 * close only some ticks of the event loop after the event arrives (the end is read, our side is shut, the socket
 * closes), and what it sends before that is never answered. For what begins with Mongo: other requests wait for Redis
 * first, which is long enough.
 */
export async function drainSocketEvents(): Promise<void> {
  for (let tick = 0; tick < 4; tick++) await setImmediate();
}

/** Whether an error of `bounded` means that Mongo could not be reached. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof ApiError && error.code === "CONNECTION_FAILED";
}

/** Whether Mongo refused a write because of a unique index. */
export const isDuplicate = (error: unknown) => hasCode(error, 11000);

/** Whether Mongo refused a write because a field does not have the type that it is changed as. */
export const isTypeMismatch = (error: unknown) => hasCode(error, 14);

/** Whether Mongo refused a write because the document would be over 16 MB. */
export const isTooLarge = (error: unknown) => hasCode(error, 10334) || hasCode(error, 17419);

/** Whether Mongo stopped a command at its `maxTimeMS`. */
export const isOutOfTime = (error: unknown) => hasCode(error, 50);

/** Whether Mongo has no index of the name or the keys that a query demands. */
export const isBadHint = (error: unknown) => hasCode(error, 2);

/** Whether Mongo refused the name of a database. Our collections have valid names. */
export const isInvalidName = (error: unknown) => hasCode(error, 73);

const hasCode = (error: unknown, code: number) => error instanceof Error && "code" in error && error.code === code;

interface Cluster {
  /** Present while it is connected. */
  client?: MongoClient | undefined;
  users: number;
  /** Epoch ms. */
  usedAt: number;
}

/** By connection string, the least recently used first. Subaccounts on one cluster share a client. */
const clusters = new Map<string, Cluster>();

/** A database in use. Its client stays open until `release`. */
export interface AcquiredDatabase {
  /**
   * Reads have the read concern majority, unless an operation names another.
   *
   * @throws CONNECTION_FAILED when the connection fails or the connection string is invalid.
   */
  db(): Promise<Db>;
  release(): void;
}

/**
 * The central database: subaccounts, memberships, Retell accounts. Its client is never closed. Its read concern is local,
 * so that a revocation takes effect even while the set has no majority.
 */
export async function central(): Promise<Db> {
  const url = config().MONGODB_URL;
  return connect(clusterAt(url), url, undefined, "local");
}

/**
 * Acquires a database for one request. Opens no connection yet. At most ten clients are kept. The least recently used are
 * closed first, and those that were not used for five minutes, but never one in use, nor the central one.
 *
 * @param name The database. Default: the one that the connection string names.
 */
export function acquireDatabase(url: string, name: string | undefined): AcquiredDatabase {
  const cluster = clusterAt(url);
  clusters.delete(url);
  clusters.set(url, cluster);
  cluster.users += 1;
  cluster.usedAt = Date.now();
  closeIdle();

  let released = false;
  return {
    db: () => connect(cluster, url, name, "majority"),
    release() {
      if (released) return;
      released = true;
      cluster.users -= 1;
      cluster.usedAt = Date.now();
    },
  };
}

function clusterAt(url: string): Cluster {
  const known = clusters.get(url);
  if (known) return known;
  const cluster: Cluster = { users: 0, usedAt: Date.now() };
  clusters.set(url, cluster);
  return cluster;
}

/** @throws CONNECTION_FAILED */
async function connect(
  cluster: Cluster,
  url: string,
  name: string | undefined,
  level: "local" | "majority",
): Promise<Db> {
  const { MongoClient, ReadConcern } = await driver();
  try {
    if (!cluster.client) {
      const client = new MongoClient(withoutMaxStaleness(url), options);
      // A client whose first connection fails stays closed, so the next request needs a new one.
      client.on("topologyClosed", () => {
        if (cluster.client === client) cluster.client = undefined;
      });
      cluster.client = client;
    }
    // Connects now: later, an error of the connection string could not be told from one of the first operation.
    const client = await cluster.client.connect();
    return client.db(name, { ...durable, readConcern: new ReadConcern(level) });
  } catch (cause) {
    throw new ApiError("CONNECTION_FAILED", { cause });
  }
}

/** Whether a connection string names other servers than the central database's. */
export const isOwnCluster = (url: string) => hostsOf(url) !== hostsOf(config().MONGODB_URL);

/** Undefined where there is none. A password in a valid URL has no slash. */
const hostsOf = (url: string) => /^[\w+]+:\/\/(?:[^/?]*@)?([^/?]+)/.exec(url)?.[1]?.toLowerCase();

/** Without `maxStalenessSeconds`, which the driver refuses together with the read preference `primary`. */
const withoutMaxStaleness = (url: string) => url.replace(/(?<=[?&])maxStalenessSeconds=[^&]*&?/i, "");

/** Called when a database is acquired. A timer would keep the process alive, and stands still in a frozen Lambda. */
function closeIdle(): void {
  for (const [url, { client, users, usedAt }] of clusters) {
    if (users > 0 || url === config().MONGODB_URL) continue;
    if (clusters.size <= maxClients && Date.now() - usedAt < idleMs) continue;
    clusters.delete(url);
    client?.close().catch(() => {}); // it has no users, and nothing waits for it
  }
}

/** Closes every client, so that tests and tools can end. */
export async function closeAll(): Promise<void> {
  const open = [...clusters.values()];
  clusters.clear();
  await Promise.all(open.map(({ client }) => client?.close()));
}
