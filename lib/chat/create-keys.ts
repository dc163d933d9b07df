import type { Collection, UpdateFilter } from "mongodb";
import { runIn, type TenantContext } from "../access/tenant.ts";
import { ApiError, UnexpectedAnswer } from "../platform/errors.ts";
import type { IdempotencyKey } from "./model.ts";
import { cancelledClaimMs, keyMs, takenOverKeyMs } from "./timing.ts";

/**
 * What is stored of a create that came with an Idempotency-Key, in the collection chatrequests of the tenant's
 * database. The key of a message is stored on the message; the key of a create is needed before there is a chat.
 */
export interface IdempotencyRecord {
  _id: string;
  /** A database may hold the records of several subaccounts. A move copies those of one. */
  subaccountId: string;
  /** "": not known, as the record was lost in a restore and made anew. */
  hash: string;
  /** The attempt that works on it. */
  owner: string;
  /** `unknown`: Retell gave no clear answer, so the chat may exist there. */
  state: "running" | "unknown";
  /** When Retell answered a 500, server clock: it has finished, though its list may lag. */
  finishedAt?: Date;
  /** When the attempt began, server clock. */
  at: Date;
  /** The chat that came of it. */
  chat_id?: string;
  expires: Date;
  /**
   * Attempts that gave up before their claim was answered. A record with this field has none of the attempt's fields: a
   * claim replaces it.
   */
  cancelled?: string[];
}

/** A record as it was read, with the server's clock at that moment. */
export type RecordSnapshot = IdempotencyRecord & { now: Date };

/**
 * What a chat carries of the create that it came of, in our database and in Retell's metadata. It is not the key alone:
 * the chat outlives the day after which the key may be used for another create.
 */
export const requestName = ({ _id, expires }: IdempotencyRecord) => `${_id}.${expires.getTime()}`;

/**
 * Claims a key if it is free. The claim succeeded if the record names this owner; otherwise another attempt has the
 * key.
 */
export async function claim(
  tenant: TenantContext,
  { id, hash }: IdempotencyKey,
  owner: string,
): Promise<RecordSnapshot> {
  const mine = {
    _id: id,
    subaccountId: tenant.subaccountId,
    hash,
    owner,
    state: "running",
    at: "$$NOW",
    expires: { $add: ["$$NOW", keyMs] },
  };
  const isFree = { $eq: [{ $type: "$owner" }, "missing"] };
  const isWanted = { $not: { $in: [owner, { $ifNull: ["$cancelled", []] }] } };
  const record = await run(tenant, (records) =>
    records.findOneAndUpdate(
      { _id: id },
      [{ $replaceWith: { $cond: [{ $and: [isFree, isWanted] }, mine, "$$ROOT"] } }],
      { upsert: true, returnDocument: "after", projection: { ...recordFields, now: "$$NOW" } },
    ),
  );
  if (!record) throw new ApiError("INTERNAL_ERROR", { cause: new UnexpectedAnswer("An upsert returned nothing") });
  return record as typeof record & { now: Date }; // the driver's type knows no computed fields
}

/**
 * Takes over from an attempt that died, or that left nothing, unless another attempt was faster: the next claim tells.
 * A day that is nearly over gets an hour more, so that it does not end in the middle of this attempt.
 */
export async function takeOver(
  tenant: TenantContext,
  { _id, owner }: IdempotencyRecord,
  newOwner: string,
): Promise<void> {
  const taken = {
    owner: newOwner,
    state: "running",
    at: "$$NOW",
    expires: { $max: ["$expires", { $add: ["$$NOW", takenOverKeyMs] }] },
  };
  await run(tenant, (records) => records.updateOne({ _id, owner }, [{ $set: taken }, { $unset: "finishedAt" }]));
}

/** Notes the chat that came of it. */
export async function noteChat(tenant: TenantContext, id: string, chat_id: string): Promise<void> {
  await run(tenant, (records) => records.updateOne({ _id: id }, { $set: { chat_id } }));
}

/** Notes it of a create whose record was lost in a restore. The digest of its body is not known. */
export async function restore(tenant: TenantContext, request: string, chat_id: string): Promise<void> {
  const [_id = "", expires] = request.split(".");
  const $setOnInsert = {
    subaccountId: tenant.subaccountId,
    hash: "",
    owner: "restored",
    state: "unknown" as const,
    at: new Date(),
    chat_id,
    expires: new Date(Number(expires)),
  };
  await run(tenant, (records) => records.updateOne({ _id }, { $setOnInsert }, { upsert: true }));
}

/** Frees the key: nothing came of it, for sure. */
export async function release(tenant: TenantContext, id: string, owner: string): Promise<void> {
  await run(tenant, (records) => records.deleteOne({ _id: id, owner }));
}

/**
 * Releases a key whose claim had no answer. MongoDB may still be working on that claim, and may carry this out first:
 * an attempt that is noted here can claim the key no more.
 */
export async function cancel(tenant: TenantContext, id: string, owner: string): Promise<void> {
  const isTheirs = { $ne: [{ $ifNull: ["$owner", owner] }, owner] };
  const cancelled = { $concatArrays: [{ $ifNull: ["$cancelled", []] }, [owner]] };
  const { subaccountId } = tenant;
  const free = { _id: id, subaccountId, cancelled, expires: { $add: ["$$NOW", cancelledClaimMs] } };
  await run(tenant, (records) =>
    records.updateOne({ _id: id }, [{ $replaceWith: { $cond: [isTheirs, "$$ROOT", free] } }], { upsert: true }),
  );
}

/** Notes that something may have come of it: the next attempt searches before it tries anew. */
export async function mark(tenant: TenantContext, id: string, owner: string, isFinished: boolean): Promise<void> {
  const update: UpdateFilter<IdempotencyRecord> = {
    $set: { state: "unknown" },
    ...(isFinished ? { $currentDate: { finishedAt: true } } : {}),
  };
  await run(tenant, (records) => records.updateOne({ _id: id, owner }, update));
}

const recordFields = { subaccountId: 1, hash: 1, owner: 1, state: 1, finishedAt: 1, at: 1, chat_id: 1, expires: 1 };

function run<T>(tenant: TenantContext, operation: (records: Collection<IdempotencyRecord>) => Promise<T>): Promise<T> {
  return runIn(tenant, "chatrequests", operation);
}
