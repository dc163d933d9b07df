import { setImmediate } from "node:timers/promises";
import type { Db, DbOptions, MongoClient, MongoClientOptions } from "mongodb";
import { config } from "./config.ts";
import { ApiError } from "./errors.ts";

/** Longest wait for one operation: with what comes before it, an answer leaves within 3 s of Mongo's going away. */
const operationMs = 2_300;
const maxClients = 10;
/** A client that nobody has used for so long is closed: its monitoring goes on for as long as it is open. */
const idleMs = 5 * 60_000;

const options: MongoClientOptions = {
  appName: "scalai-chat",
  serverSelectionTimeoutMS: 2_000,
  connectTimeoutMS: 2_000,
  // What we have given up must neither keep its connection nor be done later behind us: a second try would.
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
 * How every database is written, whatever its connection string says. A write that is acknowledged is journaled by a
 * majority of the replica set, so that no failover takes it back. The server gives up waiting for the majority before
 * `bounded` does: the write is applied then, and not durable, which the driver throws as an error.
 */
const durable: DbOptions = {
  writeConcern: { w: "majority", wtimeoutMS: 2_000, journal: true },
  readPreference: "primary",
};

/**
 * Awaits one operation for 2.3 s at most. The driver's own limits apply to parts of an operation (finding a server,
 * a socket, one of two tries), so none of them bounds the whole.
 *
 * @throws CONNECTION_FAILED when Mongo does not do what it was asked to: it cannot be reached, does not answer in time,
 *         refuses the user, has no majority. What was asked may still take effect: callers that write say what happens
 *         then. An error that says that the request itself was wrong is thrown as it is.
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
 * The driver, loaded by whoever first needs it. It is two thirds of what there is to load, and what is answered from
 * the cache needs none of it. Whatever else is imported of it must be a type.
 */
export const driver = () => import("./mongo-driver.ts");

/**
 * Waits until the driver has heard which servers closed their connections while this Lambda was frozen. It learns of a
 * close only some turns of the event loop after the event arrives (the end is read, our side is shut, the socket
 * closes), and what it sends before that is never answered. For what begins with Mongo: other requests wait for Redis
 * first, which is long enough.
 */
export async function drainSocketEvents(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await setImmediate();
}

/** Whether an error is the driver's, the server's or the network's, and does not say that our request was wrong. */
function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { name, code, codeName } = error as { name: string; code?: unknown; codeName?: unknown };
  if (name === "MongoWriteConcernError") return true;
  if (typeof code === "number")
    return !requestErrors.has(code) && !(code > 10_000 && /^Location/.test(String(codeName)));
  if (driverErrors.test(name)) return !misuseErrors.test(name);
  // The driver lets a socket's bare error through where it writes to one that the other side has just closed.
  return typeof code === "string" && /^E[A-Z0-9]+$/.test(code);
}

/**
 * Errors by which the server says that a request was wrong, or does not fit what is stored. Assertions that have no name
 * of their own, which it calls `Location` and a number above 10,000, are of this kind, too. Lower ones are Atlas's.
 *
 * InvalidNamespace (73) is not among them: collections have our names, so that it is about the tenant's `databaseName`.
 *
 * @see github.com/mongodb/mongo, src/mongo/base/error_codes.yml
 */
const requestErrors = new Set([
  2, // BadValue
  9, // FailedToParse
  14, // TypeMismatch
  15, // Overflow
  16, // InvalidLength
  22, // InvalidBSON
  28, // PathNotViable
  ...[40, 52, 53, 54, 55, 56, 57], // ConflictingUpdateOperators, and names of fields that are not allowed
  66, // ImmutableField
  ...[67, 85, 86, 197], // an index that cannot be created
  72, // InvalidOptions
  121, // DocumentValidationFailure
  ...[166, 167, 168], // what a view or a pipeline does not take
  241, // ConversionFailure
  10334, // BSONObjectTooLarge
  11000, // DuplicateKey
]);

/** What was under way when the monitor lost the server has a name that is unlike the others'. */
const driverErrors = /^(Mongo|PoolCleared)/;
/** What the driver says of calls that contradict its interface. Of a connection string it says so when it connects. */
const misuseErrors =
  /^Mongo(API|InvalidArgument|Transaction|BatchReExecution|CursorInUse|CursorExhausted|TailableCursor)Error$/;

/** Whether an error of `bounded` is one of the connection, rather than of what was asked. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof ApiError && error.code === "CONNECTION_FAILED";
}

/** Whether Mongo refused a write because a unique index has its like already. */
export const isDuplicate = (error: unknown) => error instanceof Error && "code" in error && error.code === 11000;

/** Whether Mongo refused a write because a field does not have the type that it is changed as. */
export const isTypeMismatch = (error: unknown) => error instanceof Error && "code" in error && error.code === 14;

/** Whether Mongo refused a write because the document would be over 16 MB. */
export const isTooLarge = (error: unknown) =>
  error instanceof Error && "code" in error && (error.code === 10334 || error.code === 17419);

interface Cluster {
  /** There is one while somebody has connected. */
  client?: MongoClient | undefined;
  users: number;
  /** Epoch ms. */
  usedAt: number;
}

/** One client per connection string, in the order of use: subaccounts on one cluster share one. */
const clusters = new Map<string, Cluster>();

/** A database in use. Its client stays open until it is released. */
export interface AcquiredDatabase {
  /**
   * What a majority of the set has is read, unless an operation says otherwise.
   *
   * @throws CONNECTION_FAILED when there is no connection, or no valid connection string.
   */
  db(): Promise<Db>;
  release(): void;
}

/**
 * The central database: subaccounts, memberships, Retell accounts. Its client is never closed. What it has last is
 * read: a revocation takes effect even while the set has no majority.
 */
export async function central(): Promise<Db> {
  const url = config().MONGODB_URL;
  return connect(clusterAt(url), url, undefined, "local");
}

/**
 * Takes a database for one request. At most ten clients are kept, the one unused for longest is closed first, and
 * whichever nobody has used for five minutes; never one in use, nor the central one. Nothing is loaded or opened yet.
 *
 * @param name The database; absent: the one that the connection string names.
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
      // The driver closes a client for good when its first connection fails: whoever comes next gets a new one.
      client.on("topologyClosed", () => {
        if (cluster.client === client) cluster.client = undefined;
      });
      cluster.client = client;
    }
    // Left to the first operation, what is wrong with the connection string could not be told from what is wrong with
    // that operation.
    const client = await cluster.client.connect();
    return client.db(name, { ...durable, readConcern: new ReadConcern(level) });
  } catch (cause) {
    throw new ApiError("CONNECTION_FAILED", { cause });
  }
}

/** `maxStalenessSeconds` is about secondaries: the driver refuses it beside a read preference of `primary`. */
const withoutMaxStaleness = (url: string) => url.replace(/(?<=[?&])maxStalenessSeconds=[^&]*&?/i, "");

/** At a lease, not by a timer: that would keep a process alive, and stand still in a Lambda that is frozen. */
function closeIdle(): void {
  for (const [url, { client, users, usedAt }] of clusters) {
    if (users > 0 || url === config().MONGODB_URL) continue;
    if (clusters.size <= maxClients && Date.now() - usedAt < idleMs) continue;
    clusters.delete(url);
    client?.close().catch(() => {}); // nobody uses it, nobody waits for it
  }
}

/** Closes every client: for tests and tools, which would otherwise not end. */
export async function closeAll(): Promise<void> {
  const open = [...clusters.values()];
  clusters.clear();
  await Promise.all(open.map(({ client }) => client?.close()));
}
