import { runIn, type TenantContext } from "../../access/tenant.ts";
import { config } from "../../platform/config.ts";
import { ApiError, UnexpectedAnswer } from "../../platform/errors.ts";

interface Identity {
  _id: "identity";
  id: string;
  /** By stage and subaccount: each must notice by itself that the database was restored. In one document: one command. */
  marks: Record<string, Mark>;
}

interface Mark {
  /** When a search for orphans last looked into this database. */
  at: Date;
  /** What `at` was before. */
  before?: Date;
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
  const name = markName(tenant);
  const path = `marks.${name}`;
  const update = {
    id: { $ifNull: ["$id", crypto.randomUUID()] },
    [`${path}.before`]: `$${path}.at`,
    [`${path}.at`]: { $max: [`$${path}.at`, at] },
  };
  const identity = await runIn<Identity, Identity | null>(tenant, "chatsdatabase", (identities) =>
    identities.findOneAndUpdate({ _id: "identity" }, [{ $set: update }], {
      upsert: true,
      returnDocument: "after",
      projection: { id: 1, [path]: 1 },
    }),
  );
  if (!identity) throw new ApiError("INTERNAL_ERROR", { cause: new UnexpectedAnswer("An upsert returned nothing") });
  return { id: identity.id, markedBefore: identity.marks[name]?.before };
}

/** A field's name: a stage's own name may have dots. */
const markName = ({ subaccountId }: TenantContext) =>
  `${encodeURIComponent(config().STAGE).replaceAll(".", "%2E")} ${subaccountId}`;
