import type { ObjectId, UpdateFilter } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import type { ChatSnapshot, StoredChat, Tombstone, Turn } from "../model.ts";
import { statsUpdate } from "../stats.ts";
import { msFromNow, ofTenant, oneChat, run } from "./collection.ts";

/** A chat that the sweep should look at. */
export interface DueChat {
  _id: ObjectId;
  chat_id: string;
  /** Since when it is due. */
  nextSweepAt: Date;
  /** Its open turn, if it has one. */
  turn?: Turn;
  /** The document is a tombstone: what is left of a chat that was given up. */
  tombstone?: Tombstone;
  /** Of the create that it came of. */
  operationId: string;
}

/** The tenant's chats and tombstones that are due now, the longest due first. */
export async function due(tenant: TenantContext, limit: number): Promise<DueChat[]> {
  return run(tenant, (chats) =>
    chats
      .find({ subaccountId: tenant.subaccountId, "internal.nextSweepAt": { $lte: new Date() } })
      .sort({ "internal.nextSweepAt": 1 })
      .limit(limit)
      .project<DueChat>({
        chat_id: 1,
        nextSweepAt: "$internal.nextSweepAt",
        turn: "$internal.turn",
        tombstone: "$internal.tombstone",
        operationId: 1,
      })
      .toArray(),
  );
}

/** Claims a due chat for one sweep; false when another sweep has it, or a send has changed its time. */
export async function claim(tenant: TenantContext, { _id, nextSweepAt }: DueChat, ms: number): Promise<boolean> {
  const filter = { _id, subaccountId: tenant.subaccountId, "internal.nextSweepAt": nextSweepAt };
  const update = { $set: { "internal.nextSweepAt": msFromNow(ms) } };
  return (await run(tenant, (chats) => chats.updateOne(filter, update))).modifiedCount === 1;
}

/** What a sweep has found out about a chat. */
export interface Swept {
  /** When it is due again; undefined: not any more. */
  sweepAt: Date | undefined;
  /** Since when Retell has refused to show it; undefined: it does not. */
  refusedSince: Date | undefined;
  /** The revision at which it is indexed for the search; undefined for a chat that is not imported. */
  wordsRevision: number | undefined;
  /** Whether Retell has still to be read. */
  readAgain?: boolean;
}

/**
 * Notes what a sweep has found out about a chat that it claimed. The same write mends stats that are missing or outdated.
 * A send that came first has set its own time, and nothing is written.
 */
export async function reschedule(
  tenant: TenantContext,
  _id: DueChat["_id"],
  { sweepAt, refusedSince, wordsRevision, readAgain }: Swept,
  seen: ChatSnapshot,
): Promise<void> {
  const filter = { _id, ...ofTenant(tenant), "internal.revision": seen.internal?.revision };
  const $set = {
    ...(sweepAt && { "internal.nextSweepAt": sweepAt }),
    ...(refusedSince && { "internal.refusedSince": refusedSince }),
    ...(wordsRevision !== undefined && { "internal.wordsRevision": wordsRevision }),
    ...statsUpdate(seen),
  };
  const $unset: UpdateFilter<StoredChat>["$unset"] = {
    ...(!readAgain && { "internal.readAgain": "" as const }),
    ...(!sweepAt && { "internal.nextSweepAt": "" }),
    ...(!refusedSince && { "internal.refusedSince": "" }),
  };
  await run(tenant, (chats) => chats.updateOne(filter, { $set, $unset }));
}

/** Sets when the sweep looks at a chat next, and has it read at Retell then. */
export async function postpone(tenant: TenantContext, chatId: string, ms: number): Promise<void> {
  const $set = { "internal.nextSweepAt": msFromNow(ms), "internal.readAgain": true as const };
  await run(tenant, (chats) => chats.updateOne(oneChat(tenant, chatId), { $set }));
}

/** Ongoing chats that are due later, and whose sender is not at work. */
const asleep = ({ subaccountId }: TenantContext) => ({
  subaccountId,
  "internal.nextSweepAt": { $gt: new Date() },
  chat_status: "ongoing" as const,
  "internal.turn": { $exists: false },
});

/** How many ongoing chats `wakeSome` would make due. */
export const countAsleep = (tenant: TenantContext) => run(tenant, (chats) => chats.countDocuments(asleep(tenant)));

/**
 * Makes some ongoing chats due now that are due later. In pieces, so that each is done within the time of one operation.
 *
 * @returns How many; 0 when none is left.
 */
export async function wakeSome(tenant: TenantContext): Promise<number> {
  const some = await run(tenant, (chats) => chats.find(asleep(tenant)).limit(500).project({ _id: 1 }).toArray());
  if (some.length === 0) return 0;
  const filter = { ...asleep(tenant), _id: { $in: some.map(({ _id }) => _id) } };
  await run(tenant, (chats) => chats.updateMany(filter, { $set: { "internal.nextSweepAt": new Date() } }));
  return some.length;
}
