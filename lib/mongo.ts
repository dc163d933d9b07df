import type { Db, MongoClient, MongoClientOptions } from "mongodb";
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
};

/**
 * Awaits one operation for 2.3 s at most. The driver's own limits apply to parts of an operation (finding a server,
 * a socket, one of two tries), so none of them bounds the whole.
 *
 * @throws CONNECTION_FAILED when Mongo cannot be reached or does not answer. What was asked may still take effect:
 *         callers that write say what happens then. What Mongo itself refuses is thrown as it is.
 */
export async function bounded<T>(operation: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ApiError("CONNECTION_FAILED")), operationMs);
  });
  try {
    return await Promise.race([operation, late]);
  } catch (error) {
    if (isNetwork(error)) {
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

function isNetwork(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return unreachable.test(error.name) || ("code" in error && unreachableCodes.has(error.code));
}

/**
 * Also of a client that was closed because its first connection failed, while others still waited for it; and of what
 * was under way when the monitor lost the server, whose name is unlike the others'.
 */
const unreachable =
  /^(PoolCleared|Mongo(Network|ServerSelection|PoolCleared|PoolClosed|WaitQueue|Topology|NotConnected|ServerClosed|ClientClosed|ExpiredSession))/;

const unreachableCodes = new Set<unknown>([
  // The driver lets a socket's bare error through where it writes to one that the other side has just closed.
  ...["EPIPE", "ECONNRESET"],
  // A server that is not the primary (any more), steps down or shuts down: soon there is another one.
  // @see github.com/mongodb/specifications, server-discovery-and-monitoring, "not writable primary" and "node is recovering"
  ...[91, 189, 10058, 10107, 11600, 11602, 13435, 13436],
]);

/** Whether an error of `bounded` means that Mongo cannot be reached, rather than that it refused what was asked. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof ApiError && error.code === "CONNECTION_FAILED";
}

/** Whether Mongo refused a write because a unique index has its like already. */
export const isDuplicate = (error: unknown) => error instanceof Error && "code" in error && error.code === 11000;

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
export interface Lease {
  /** @throws CONNECTION_FAILED when the connection string cannot be read. */
  db(): Promise<Db>;
  release(): void;
}

/** The central database: subaccounts, memberships, Retell accounts. Its client is never closed. */
export async function central(): Promise<Db> {
  const url = config().MONGODB_URL;
  return (await open(clusterAt(url), url)).db();
}

/**
 * Takes a database for one request. At most ten clients are kept, the one unused for longest is closed first, and
 * whichever nobody has used for five minutes; never one in use, nor the central one. Nothing is loaded or opened yet.
 *
 * @param name The database; absent: the one that the connection string names.
 */
export function lease(url: string, name: string | undefined): Lease {
  const cluster = clusterAt(url);
  clusters.delete(url);
  clusters.set(url, cluster);
  cluster.users += 1;
  cluster.usedAt = Date.now();
  closeIdle();

  let released = false;
  return {
    db: async () => (await open(cluster, url)).db(name),
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

async function open(cluster: Cluster, url: string): Promise<MongoClient> {
  const { MongoClient } = await driver();
  if (cluster.client) return cluster.client;
  try {
    const client = new MongoClient(url, options);
    // The driver closes a client for good when its first connection fails: whoever comes next gets a new one.
    client.on("topologyClosed", () => {
      if (cluster.client === client) cluster.client = undefined;
    });
    cluster.client = client;
    return client;
  } catch (cause) {
    throw new ApiError("CONNECTION_FAILED", { cause });
  }
}

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
