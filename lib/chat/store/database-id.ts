import type { TenantContext } from "../../access/tenant.ts";
import { ApiError, UnexpectedAnswer } from "../../platform/errors.ts";
import { runIn } from "./collection.ts";

interface Identity {
  _id: "identity";
  id: string;
  /** When a search for orphans last looked into this database. */
  markedAt: Date;
  /** What `markedAt` was before. */
  markedBefore?: Date;
}

/**
 * Leaves a time in the database that a tenant's chats are in. Returns the time before it, and the database's id: random,
 * and stored in that database. A connection string identifies it less well: two may lead to the same database, and after
 * a mistake the same one leads to another. A restored database keeps its id, and has an older time than was left there.
 */
export async function markDatabase(
  tenant: TenantContext,
  at: Date,
): Promise<Pick<Identity, "id"> & { markedBefore: Date | undefined }> {
  const mark = {
    id: { $ifNull: ["$id", crypto.randomUUID()] },
    markedBefore: "$markedAt",
    markedAt: { $max: ["$markedAt", at] },
  };
  const identity = await runIn<Identity, Identity | null>(tenant, "chatsdatabase", (identities) =>
    identities.findOneAndUpdate({ _id: "identity" }, [{ $set: mark }], { upsert: true, returnDocument: "after" }),
  );
  if (!identity) throw new ApiError("INTERNAL_ERROR", { cause: new UnexpectedAnswer("An upsert returned nothing") });
  return { id: identity.id, markedBefore: identity.markedBefore };
}
