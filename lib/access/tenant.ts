import type { Collection, Db, Document } from "mongodb";
import { config } from "../platform/config.ts";
import { decrypt } from "../platform/crypto.ts";
import { ApiError } from "../platform/errors.ts";
import type { RequestLog } from "../platform/logger.ts";
import { acquireDatabase, bounded, isInvalidName, isOwnCluster, isUnreachable } from "../platform/mongo.ts";
import { isFenced } from "../platform/mongo-errors.ts";
import type { Subaccount } from "./subaccount.ts";

/** A subaccount during one request, with its database. Every function that reads or writes its data gets one. */
export interface TenantContext {
  subaccountId: string;
  db(): Promise<Db>;
  /** Its database is on other servers than the central one. */
  hasOwnCluster: boolean;
  /** The Retell account as Redis has it, if it was read along with the limits. */
  cachedAccount?: Promise<string | null> | undefined;
  /** Work that must end before the answer leaves, because Lambda freezes the process then. */
  trailing: Promise<unknown>[];
  log: RequestLog;
  release(): void;
}

type DatabaseLocation = Pick<Subaccount, "mongodbUrl" | "databaseName" | "unreadable">;

/**
 * The decrypted connection string of a subaccount's cluster.
 *
 * @throws When it cannot be decrypted, or a field that locates the data is not text.
 */
export async function connectionStringOf(
  subaccountId: string,
  { mongodbUrl, unreadable }: DatabaseLocation,
): Promise<string> {
  if (unreadable) {
    throw Object.assign(new Error(`The subaccount's ${unreadable} is not text`), { name: "ConfigError" });
  }
  return mongodbUrl ? decrypt(mongodbUrl, subaccountId, "subaccount-salt") : config().MONGODB_URL;
}

/**
 * Acquires a subaccount's database: on its own cluster if it has one, else its database on the central cluster, else the
 * central database. Opens no connection yet.
 *
 * @throws CONNECTION_FAILED when `connectionStringOf` throws. A connection string that does not parse makes `db` throw.
 */
export async function openTenant(
  subaccountId: string,
  location: DatabaseLocation,
  { log, trailing }: Pick<TenantContext, "log" | "trailing">,
): Promise<TenantContext> {
  try {
    const address = await connectionStringOf(subaccountId, location);
    const database = acquireDatabase(address, location.databaseName);
    return { subaccountId, ...database, hasOwnCluster: isOwnCluster(address), trailing, log };
  } catch (cause) {
    throw new ApiError("CONNECTION_FAILED", { cause, tenantCause: "database" });
  }
}

/**
 * Runs an operation on a collection of the tenant's database.
 *
 * @throws CONNECTION_FAILED when the database does not answer in time
 */
export function runIn<Stored extends Document, T>(
  tenant: TenantContext,
  collection: string,
  operation: (documents: Collection<Stored>) => Promise<T>,
): Promise<T> {
  const work = async () => operation((await tenant.db()).collection<Stored>(collection));
  return tenant.log.time("mongo", attributed(tenant, bounded(work())));
}

/** A failure of the tenant's own cluster, or of its database's name, or by its move, is marked as the tenant's. */
async function attributed<T>({ hasOwnCluster }: TenantContext, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isUnreachable(error)) throw error;
    const { cause } = error as ApiError;
    if (isFenced(cause)) throw new ApiError("CONNECTION_FAILED", { cause, tenantCause: "paused" });
    const isTenants = hasOwnCluster || isInvalidName(cause);
    throw isTenants ? new ApiError("CONNECTION_FAILED", { cause, tenantCause: "database" }) : error;
  }
}
