import { setTimeout as delay } from "node:timers/promises";
import type { Db } from "mongodb";

const collectionExists = 48;
/** For so long a command that died keeps others from changing the list of a database. */
const leaseMs = 30_000;
const pollMs = 100;

/** The validator that fences chats: no document of these subaccounts is valid. */
interface Fence {
  subaccountId: { $nin: string[] };
}

/**
 * Refuses every write of a subaccount's chats in a database, whoever asks: an instance may still have its address. All
 * writes that were acknowledged are there when this returns, also after a failover. Other subaccounts are not affected.
 *
 * @throws When the collection has a validator of somebody else's, or the user may not change it (role dbAdmin).
 */
export async function fence(db: Db, subaccountId: string): Promise<void> {
  await oneAtATime(db, async () => setFence(db, [...new Set([...(await fencedIn(db)), subaccountId])]));
}

/** Takes the writes of a subaccount's chats again. */
export async function unfence(db: Db, subaccountId: string): Promise<void> {
  if (!(await fencedIn(db)).includes(subaccountId)) return;
  await oneAtATime(db, async () => {
    const fenced = await fencedIn(db);
    await setFence(
      db,
      fenced.filter((id) => id !== subaccountId),
    );
  });
}

/** MongoDB replaces the list as a whole: of two moves that have read the same list, one would lose its fence. */
async function oneAtATime(db: Db, change: () => Promise<void>): Promise<void> {
  const leases = db.collection<{ _id: string; owner: string; until: Date }>("chatsdatabase");
  const [_id, owner] = ["lease of the fence", crypto.randomUUID()];
  const mine = { _id, owner, until: { $add: ["$$NOW", leaseMs] } };
  const take = [{ $replaceWith: { $cond: [{ $gt: ["$until", "$$NOW"] }, "$$ROOT", mine] } }];
  const options = { upsert: true, returnDocument: "after" } as const;
  while ((await leases.findOneAndUpdate({ _id }, take, options))?.owner !== owner) await delay(pollMs);
  try {
    await change();
  } finally {
    await leases.deleteOne({ _id, owner });
  }
}

/** The subaccounts whose chats are fenced in a database. Throws what `fence` throws, and changes nothing. */
export async function fencedIn(db: Db): Promise<string[]> {
  const [chats] = await db.listCollections({ name: "chats" }, { nameOnly: false }).toArray();
  const validator: Partial<Fence> | undefined = (chats as { options?: { validator?: object } } | undefined)?.options
    ?.validator;
  if (!validator || Object.keys(validator).length === 0) return [];
  const fenced = validator.subaccountId?.$nin;
  if (Object.keys(validator).length > 1 || !Array.isArray(fenced)) {
    throw new Error(`The collection chats of ${db.databaseName} has a validator of its own: it must be removed first`);
  }
  return fenced;
}

/** Whether the database's user may fence. Creates the collection if there is none. */
export async function mayFence(db: Db): Promise<boolean> {
  await db.createCollection("chats").catch((error) => {
    if (error.code !== collectionExists) throw error;
  });
  return db.command({ collMod: "chats" }).then(
    () => true,
    (error) => {
      if (error.code === 13) return false;
      throw error;
    },
  );
}

async function setFence(db: Db, subaccountIds: string[]): Promise<void> {
  const validator = subaccountIds.length > 0 ? ({ subaccountId: { $nin: subaccountIds } } satisfies Fence) : {};
  await db.command({
    collMod: "chats",
    validator,
    validationLevel: "strict",
    validationAction: "error",
    writeConcern: { w: "majority" },
  });
}
