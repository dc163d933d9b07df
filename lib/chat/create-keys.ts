import type { Collection, UpdateFilter } from "mongodb";
import type { TenantContext } from "../access/tenant.ts";
import { ApiError, UnexpectedAnswer } from "../platform/errors.ts";
import { bounded } from "../platform/mongo.ts";
import type { IdempotencyKey } from "./model.ts";

/** A create that was asked for with an Idempotency-Key. A message's key lives on the message; a chat's, before there is one. */
export interface StoredRequest {
  _id: string;
  hash: string;
  /** The attempt that works on it. */
  owner: string;
  /** `unknown`: Retell gave no clear answer, so the chat may exist there. */
  state: "running" | "unknown";
  /** When Retell failed with a 500, server clock: it has finished, though its list may lag. */
  finishedAt?: Date;
  /** When the attempt began, server clock. */
  at: Date;
  /** The chat that came of it. */
  chat_id?: string;
  expires: Date;
  /** Attempts that gave up before their claim was answered. Stands alone: a claim replaces it. */
  cancelled?: string[];
}

/** A request as it was read, with the server's clock at that moment. */
export type ReadRequest = StoredRequest & { now: Date };

/**
 * What a chat bears of the create that it came of, here and at Retell. Not the key alone: the chat outlives the day
 * after which the key is free for another.
 */
export const nameOf = ({ _id, expires }: StoredRequest) => `${_id}.${expires.getTime()}`;

/** For how long a key is remembered. */
const keptMs = 24 * 3_600_000;

/** An attempt takes seconds; what it leaves unknown is settled in minutes. */
const attemptMs = 3_600_000;

/** A claim is late by seconds. */
const cancelledMs = 10 * 60_000;

/** The chatrequests collection of a tenant's database. */
export const requests = {
  /** Takes a key if it is free. What comes back is ours if its owner is; else it is an earlier attempt's. */
  async claim(tenant: TenantContext, { id, hash }: IdempotencyKey, owner: string): Promise<ReadRequest> {
    const mine = {
      _id: id,
      hash,
      owner,
      state: "running",
      at: "$$NOW",
      expires: { $add: ["$$NOW", keptMs] },
    };
    const isFree = { $eq: [{ $type: "$owner" }, "missing"] };
    const isWanted = { $not: { $in: [owner, { $ifNull: ["$cancelled", []] }] } };
    const request = await run(tenant, (requests) =>
      requests.findOneAndUpdate(
        { _id: id },
        [{ $replaceWith: { $cond: [{ $and: [isFree, isWanted] }, mine, "$$ROOT"] } }],
        { upsert: true, returnDocument: "after", projection: { ...everything, now: "$$NOW" } },
      ),
    );
    if (!request) throw new ApiError("INTERNAL_ERROR", { cause: new UnexpectedAnswer("An upsert returned nothing") });
    return request as unknown as ReadRequest;
  },

  /**
   * Takes over from an attempt that died, or that left nothing, unless somebody else was faster: the next claim tells.
   * A day that is nearly over gets an hour more, so that it does not end in the middle of this attempt.
   */
  async takeOver(tenant: TenantContext, { _id, owner }: StoredRequest, newOwner: string): Promise<void> {
    const taken = {
      owner: newOwner,
      state: "running",
      at: "$$NOW",
      expires: { $max: ["$expires", { $add: ["$$NOW", attemptMs] }] },
    };
    await run(tenant, (requests) => requests.updateOne({ _id, owner }, [{ $set: taken }, { $unset: "finishedAt" }]));
  },

  /** Notes the chat that came of it. */
  async done(tenant: TenantContext, id: string, chat_id: string): Promise<void> {
    await run(tenant, (requests) => requests.updateOne({ _id: id }, { $set: { chat_id } }));
  },

  /** Nothing came of it, for sure: the key is free. */
  async release(tenant: TenantContext, id: string, owner: string): Promise<void> {
    await run(tenant, (requests) => requests.deleteOne({ _id: id, owner }));
  },

  /**
   * Releases a key whose claim had no answer. MongoDB may still be working on that claim, and may take this first: an
   * attempt that is noted here takes the key no more.
   */
  async cancel(tenant: TenantContext, id: string, owner: string): Promise<void> {
    const isTheirs = { $ne: [{ $ifNull: ["$owner", owner] }, owner] };
    const cancelled = { $concatArrays: [{ $ifNull: ["$cancelled", []] }, [owner]] };
    const free = { _id: id, cancelled, expires: { $add: ["$$NOW", cancelledMs] } };
    await run(tenant, (requests) =>
      requests.updateOne({ _id: id }, [{ $replaceWith: { $cond: [isTheirs, "$$ROOT", free] } }], { upsert: true }),
    );
  },

  /** Something may have come of it: the next attempt looks before it tries anew. */
  async mark(tenant: TenantContext, id: string, owner: string, isFinished: boolean): Promise<void> {
    const update = {
      $set: { state: "unknown" as const },
      ...(isFinished ? { $currentDate: { finishedAt: true } } : {}),
    };
    await run(tenant, (requests) => requests.updateOne({ _id: id, owner }, update as UpdateFilter<StoredRequest>));
  },
};

const everything = { hash: 1, owner: 1, state: 1, finishedAt: 1, at: 1, chat_id: 1, expires: 1 };

function run<T>(tenant: TenantContext, operation: (requests: Collection<StoredRequest>) => Promise<T>): Promise<T> {
  const work = async () => operation((await tenant.db()).collection<StoredRequest>("chatrequests"));
  return tenant.log.time("mongo", bounded(work()));
}
