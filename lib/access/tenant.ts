import type { Db } from "mongodb";
import { config } from "../platform/config.ts";
import { decrypt } from "../platform/crypto.ts";
import { ApiError } from "../platform/errors.ts";
import type { RequestLog } from "../platform/logger.ts";
import { acquireDatabase } from "../platform/mongo.ts";
import type { Access } from "./membership.ts";

/** A subaccount with its database in hand. Given to every function that reads or writes what belongs to it. */
export interface TenantContext {
  subaccountId: string;
  db(): Promise<Db>;
  /** What Redis holds of the Retell account, when it was read along with the limits. */
  account?: Promise<string | null> | undefined;
  /** Work that nothing waits for until the answer leaves: a Lambda is frozen then, and would leave it half done. */
  trailing: Promise<unknown>[];
  log: RequestLog;
  release(): void;
}

type DatabaseLocation = Pick<NonNullable<Access["subaccount"]>, "mongodbUrl" | "databaseName" | "unreadable">;

/**
 * The clear connection string of a subaccount's cluster.
 *
 * @throws When it does not decrypt, or when the document does not say where the data is.
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
 * Takes a subaccount's database: its own cluster when it has one, else its database on the central cluster, else
 * the central database. Opens no connection yet.
 *
 * @throws CONNECTION_FAILED when its connection string does not decrypt, or its document does not say where its data is. One that does not parse is found by `db`.
 */
export async function openTenant(
  subaccountId: string,
  location: DatabaseLocation,
  { log, trailing }: Pick<TenantContext, "log" | "trailing">,
): Promise<TenantContext> {
  try {
    const address = await connectionStringOf(subaccountId, location);
    return { subaccountId, ...acquireDatabase(address, location.databaseName), trailing, log };
  } catch (cause) {
    throw new ApiError("CONNECTION_FAILED", { cause });
  }
}
