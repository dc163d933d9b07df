import * as z from "zod";
import { config } from "../platform/config.ts";
import { ApiError } from "../platform/errors.ts";
import { parseJson } from "../platform/json.ts";
import { Lru } from "../platform/lru.ts";
import { bounded, central, driver, isUnreachable } from "../platform/mongo.ts";
import { key, redis } from "../platform/redis.ts";
import { isYounger } from "../platform/time.ts";
import { loadSubaccount, Subaccount } from "./subaccount.ts";

export type Permission = "read" | "write" | "delete" | "admin";

/** The caller, as the token names it. */
export interface Actor {
  id: string;
  role: "super_admin" | "admin" | "user";
}

const objectId = /^[0-9a-f]{24}$/i;

/** A user's id in one spelling: an ObjectId in capitals is the same user for limits, permissions and epochs. */
export const canonicalUserId = (userId: string) => (objectId.test(userId) ? userId.toLowerCase() : userId);

const Membership = z.object({
  role: z.string(),
  isActive: z.boolean(),
  permissions: z.object({ read: z.boolean(), write: z.boolean(), delete: z.boolean(), admin: z.boolean() }),
  expiresAt: z.number().nullable(),
});

const Access = z.object({
  /** When it was read in Mongo, epoch ms. Its age counts from then, in every cache. */
  readAt: z.number(),
  /** The user's and the subaccount's epoch then, one after the other. A new epoch invalidates what was read before. */
  epoch: z.string(),
  membership: Membership.nullable(),
  subaccount: Subaccount.nullable(),
});

/**
 * What a permission check needs of a user and a subaccount, and where that subaccount's data is (its connection string
 * stays encrypted). Cached for a minute, in this process and in Redis.
 */
export type Access = z.infer<typeof Access>;

const memory = new Lru<Access>(10_000);

/** What this process has cached. No I/O, so an epoch may have changed since: `accessInCaches` checks them. */
export function accessInMemory(userId: string, subaccountId: string): Access | undefined {
  const access = memory.get(`${subaccountId}:${userId}`);
  return access && isFresh(access) ? access : undefined;
}

/**
 * Reads the epochs in Redis, and the cached access where this process has none. Never rejects: without Redis the local
 * copy is used for its minute, and without a copy, or during a move, the caller reads Mongo.
 */
export async function accessInCaches(
  userId: string,
  subaccountId: string,
): Promise<{ access: Access | undefined; epoch: string | undefined; failure?: unknown }> {
  const local = accessInMemory(userId, subaccountId);
  try {
    const cached = local ? [] : [accessKey(userId, subaccountId)];
    const [ofUser, ofSubaccount, text] = await redis.mget([
      epochKey(userId),
      subaccountEpochKey(subaccountId),
      ...cached,
    ]);
    const epoch = `${ofUser ?? ""}${ofSubaccount ?? ""}`;
    const access = local ?? Access.safeParse(parseJson(text)).data; // unreadable counts as absent
    if (!access || access.epoch !== epoch || !isFresh(access)) return { access: undefined, epoch };
    memory.set(`${subaccountId}:${userId}`, access);
    return { access, epoch };
  } catch (failure) {
    return { access: local?.subaccount?.isMoving ? undefined : local, epoch: undefined, failure };
  }
}

/**
 * Reads membership and subaccount in Mongo, in parallel, and caches them in this process and in Redis.
 *
 * @param epoch The epochs as read before; undefined when Redis did not answer. Then Redis is not written either.
 * @throws CONNECTION_FAILED when Mongo does not answer: a permission that cannot be decided is refused.
 */
export async function loadAccess(
  userId: string,
  subaccountId: string,
  epoch: string | undefined,
  trailing: Promise<unknown>[],
): Promise<Access> {
  const readAt = Date.now();
  const [subaccount, membership] = await orUnreachable([
    loadSubaccount(subaccountId),
    bounded(findMembership(userId, subaccountId)),
  ]);

  const access: Access = {
    readAt,
    epoch: epoch ?? "",
    membership: membership
      ? {
          role: typeof membership.role === "string" ? membership.role : "unknown",
          isActive: membership.isActive === true,
          permissions: {
            read: membership.permissions?.read === true,
            write: membership.permissions?.write === true,
            delete: membership.permissions?.delete === true,
            admin: membership.permissions?.admin === true,
          },
          expiresAt: expiryOf(membership.temporaryAccess),
        }
      : null,
    subaccount,
  };
  memory.set(`${subaccountId}:${userId}`, access);
  if (epoch !== undefined) {
    // Sent in one request with the subaccount's limit. If it is lost, the next request reads Mongo again.
    const kept = redis.set(accessKey(userId, subaccountId), JSON.stringify(access), config().PERMISSION_CACHE_SECONDS);
    trailing.push(kept.catch(() => {}));
  }
  return access;
}

async function findMembership(userId: string, subaccountId: string) {
  // The old server's user ids are ObjectIds: no other id has a membership.
  if (!objectId.test(userId)) return null;
  const { ObjectId } = await driver();
  return (await central())
    .collection("usersubaccounts")
    .findOne(
      { userId: new ObjectId(userId), subaccountId: new ObjectId(subaccountId) },
      { projection: { role: 1, isActive: 1, permissions: 1, temporaryAccess: 1 } },
    );
}

/** @throws CONNECTION_FAILED for every error of Mongo: whatever it is, the permission cannot be decided. */
function orUnreachable<T extends readonly unknown[]>(reads: T) {
  return Promise.all(reads).catch((cause) => {
    throw isUnreachable(cause) ? cause : new ApiError("CONNECTION_FAILED", { cause });
  });
}

/**
 * Invalidates what all instances have cached of a user, from their next request on.
 *
 * @throws RedisUnavailable. Then a change takes effect within PERMISSION_CACHE_SECONDS.
 */
export async function forgetUser(userId: string): Promise<void> {
  await redis.set(epochKey(canonicalUserId(userId)), crypto.randomUUID(), epochSeconds);
}

/** The same for a subaccount: its flags, its pause and where its data is. Throws what `forgetUser` throws. */
export async function forgetSubaccount(subaccountId: string): Promise<void> {
  await redis.set(subaccountEpochKey(subaccountId), crypto.randomUUID(), epochSeconds);
}

/** Longer than any access stays cached. */
const epochSeconds = 3_600;

export type PermissionCheck =
  | { allowed: true; effectiveRole: string }
  | { allowed: false; effectiveRole: string; maintenance?: string | undefined };

/**
 * Whether the actor has a permission. The membership's flags decide, not its role. A super admin needs no membership,
 * but the subaccount must exist and be active. During maintenance only super admins may enter.
 */
export function checkPermission(access: Access, actor: Actor, permission: Permission, now: number): PermissionCheck {
  const { membership, subaccount } = access;
  const isMember = membership?.isActive === true && (membership.expiresAt === null || membership.expiresAt > now);
  const effectiveRole = actor.role === "super_admin" ? "super_admin" : isMember ? membership.role : "none";
  const mayEnter = actor.role === "super_admin" || (isMember && membership.permissions[permission]);

  if (!mayEnter || !subaccount?.isActive) return { allowed: false, effectiveRole };
  if (subaccount.maintenanceMode && actor.role !== "super_admin") {
    return { allowed: false, effectiveRole, maintenance: subaccount.maintenanceMessage ?? "Under maintenance" };
  }
  return { allowed: true, effectiveRole };
}

const isFresh = ({ readAt }: Access) => isYounger(readAt, config().PERMISSION_CACHE_SECONDS * 1_000);

/** When a membership ends, epoch ms; null: never. A temporary access that cannot be read has ended. */
function expiryOf(temporaryAccess: unknown): number | null {
  const stored = (temporaryAccess ?? {}) as { constructor: unknown; enabled?: unknown; expiresAt?: unknown };
  if (stored.constructor !== Object) return 0;
  const { enabled, expiresAt } = stored;
  if ((enabled ?? false) === false) return null;
  const end = expiresAt instanceof Date ? expiresAt.getTime() : 0;
  return Number.isFinite(end) ? end : 0; // JSON turns NaN into null, which would mean never
}

const epochKey = (userId: string) => key("access", "epoch", userId);
const subaccountEpochKey = (subaccountId: string) => key("access", "subaccount-epoch", subaccountId);
const accessKey = (userId: string, subaccountId: string) => key("access", subaccountId, userId);
