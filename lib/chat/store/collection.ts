import type { Collection, Document, Filter, UpdateFilter } from "mongodb";
import { runIn, type TenantContext } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
import { isBadHint, isTypeMismatch } from "../../platform/mongo.ts";
import { sleep } from "../../platform/time.ts";
import type { ChatSnapshot, StoredChat } from "../model.ts";
import { withReadableMessages } from "../readable.ts";
import { durableMs, durablePollMs } from "../timing.ts";

/** Leaves tombstones out. */
const isPresent = { "internal.tombstone": { $exists: false } };

/** The chats of a subaccount, without tombstones. Every query for chats is built on it. */
export const ofTenant = ({ subaccountId }: Pick<TenantContext, "subaccountId">) => ({ subaccountId, ...isPresent });

/** One chat of a subaccount. */
export function oneChat(tenant: TenantContext, chatId: string) {
  return { ...ofTenant(tenant), chat_id: chatId } satisfies Filter<StoredChat>;
}

/** Reads what the primary has, durable or not, so that what is there is never taken for absent. */
export const localRead = { readConcern: "local" } as const;

/**
 * A chat's messages. Others write into the collection: a document whose `messages` is no list must not fail a query.
 */
export const messageList = { $cond: [{ $isArray: "$messages" }, "$messages", []] };

/** `countOf`, in MongoDB. */
export const messageCount = {
  $size: {
    $filter: {
      input: messageList,
      cond: { $and: [{ $in: ["$$this.role", ["agent", "user"]] }, { $ne: ["$$this.internal.failed", true] }] },
    },
  },
};

/** The date that lies a number of ms ahead. */
export const msFromNow = (ms: number) => new Date(Date.now() + ms);

/** Runs an operation on the tenant's chats. Throws what `runIn` throws. */
export function run<T>(tenant: TenantContext, operation: (chats: Collection<StoredChat>) => Promise<T>): Promise<T> {
  return runIn(tenant, "chats", operation);
}

/**
 * Runs a write that changes `message_count`. Others write into the collection: MongoDB refuses to change a count that
 * is no number, so such a count is computed anew first.
 */
export function runCounting<T>(
  tenant: TenantContext,
  chatId: string,
  write: (chats: Collection<StoredChat>) => Promise<T>,
): Promise<T> {
  return run(tenant, async (chats) => {
    try {
      return await write(chats);
    } catch (error) {
      if (!isTypeMismatch(error)) throw error;
      const filter = { ...oneChat(tenant, chatId), $expr: { $not: [{ $isNumber: "$message_count" }] } };
      await chats.updateOne(filter, [{ $set: { message_count: messageCount } }]);
      return write(chats);
    }
  });
}

/**
 * Finds what a majority of the replica set has, so that no failover takes back what a client was told. A document that
 * only the primary has is neither present nor absent: this waits for it.
 *
 * @throws CONNECTION_FAILED when a majority does not get it in time
 */
export function findDurable<T>(
  tenant: TenantContext,
  filter: Filter<StoredChat>,
  find: (chats: Collection<StoredChat>) => Promise<T | null>,
): Promise<T | null> {
  return run(tenant, async (chats) => {
    const until = Date.now() + durableMs;
    for (;;) {
      const found = await find(chats);
      if (found || !(await chats.findOne(filter, { ...localRead, projection: { _id: 1 } }))) return found;
      if (Date.now() > until) throw new ApiError("CONNECTION_FAILED");
      await sleep(durablePollMs);
    }
  });
}

/** Runs a query with a hint, and without one where the database lacks that index: the doctor tells of it. */
export async function hinted<T, Index extends Document>(
  index: Index,
  query: (options: { hint?: Index }) => Promise<T>,
): Promise<T> {
  return query({ hint: index }).catch((error) => {
    if (isBadHint(error)) return query({});
    throw error;
  });
}

/** The revision that a chat has after a write by `updateUnchanged` that increments it. */
export const nextRevision = ({ internal }: ChatSnapshot) => (internal?.revision ?? 0) + 1;

/** Changes a chat only if it still is as it was read: same revision, and the same open turn or none. */
export function updateUnchanged(
  tenant: TenantContext,
  seen: ChatSnapshot,
  update: UpdateFilter<StoredChat>,
): Promise<ChatSnapshot | null> {
  return runCounting(tenant, seen.chat_id, async (chats) => {
    const changed = await chats.findOneAndUpdate(
      {
        ...oneChat(tenant, seen.chat_id),
        "internal.revision": seen.internal?.revision,
        "internal.turn.id": seen.internal?.turn?.id ?? { $exists: false },
      },
      update,
      { returnDocument: "after", projection: { _id: 0 } },
    );
    return changed && withReadableMessages({ ...changed, now: seen.now });
  });
}
