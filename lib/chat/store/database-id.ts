import type { TenantContext } from "../../access/tenant.ts";
import { ApiError, UnexpectedAnswer } from "../../platform/errors.ts";
import { runIn } from "./collection.ts";

interface Identity {
  _id: "identity";
  id: string;
}

/**
 * The id of the database that a tenant's chats are in: random, and stored in that database. A connection string
 * identifies it less well: two may lead to the same database, and after a mistake the same one leads to another.
 */
export async function databaseId(tenant: TenantContext): Promise<string> {
  const identity = await runIn<Identity, Identity | null>(tenant, "chatsdatabase", (identities) =>
    identities.findOneAndUpdate(
      { _id: "identity" },
      { $setOnInsert: { id: crypto.randomUUID() } },
      { upsert: true, returnDocument: "after" },
    ),
  );
  if (!identity) throw new ApiError("INTERNAL_ERROR", { cause: new UnexpectedAnswer("An upsert returned nothing") });
  return identity.id;
}
