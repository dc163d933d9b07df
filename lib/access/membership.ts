import * as z from "zod";
import { config } from "../platform/config.ts";
import { ApiError } from "../platform/errors.ts";
import { parseJson } from "../platform/json.ts";
import { Lru } from "../platform/lru.ts";
import { bounded, central, driver, isUnreachable } from "../platform/mongo.ts";
import { key, redis } from "../platform/redis.ts";

export type Permission = "read" | "write" | "delete" | "admin";

/** Who calls, as the token says. */
export interface Actor {
  id: string;
  role: "super_admin" | "admin" | "user";
}

const objectId = /^[0-9a-f]{24}$/i;

/** A user's id as limits, permissions and epochs know it: an ObjectId in capitals is the same user. */
export const canonicalUserId = (userId: string) => (objectId.test(userId) ? userId.toLowerCase() : userId);

const Membership = z.object({
  role: z.string(),
  isActive: z.boolean(),
  permissions: z.object({ read: z.boolean(), write: z.boolean(), delete: z.boolean(), admin: z.boolean() }),
  expiresAt: z.number().nullable(),
});

const Subaccount = z.object({
  isActive: z.boolean(),
  maintenanceMode: z.boolean(),
  maintenanceMessage: z.string().optional(),
  databaseName: z.string().optional(),
  mongodbUrl: z.object({ text: z.string(), iv: z.string().optional() }).optional(),
  /** The field that should say where its data is, and is not text. Then it has no database. */
  unreadable: z.string().optional(),
});

const Access = z.object({
  /** When it was read in Mongo, epoch ms: the age counts from there, wherever it was cached since. */
  readAt: z.number(),
  /** The user's epoch at that time; "" when there was none. A new one voids whatever was read before it. */
  epoch: z.string(),
  membership: Membership.nullable(),
  subaccount: Subaccount.nullable(),
});

/**
 * What decides whether a user may enter a subaccount, and where that subaccount keeps its data (its connection
 * string stays encrypted). Kept for a minute: in this process, and in Redis for the others.
 */
export type Access = z.infer<typeof Access>;

const memory = new Lru<Access>(10_000);

/** What this process still knows; no I/O. The user's epoch may have changed since: `peek` tells. */
export function accessInMemory(userId: string, subaccountId: string): Access | undefined {
  const access = memory.get(`${subaccountId}:${userId}`);
  return access && isFresh(access) ? access : undefined;
}

/**
 * Asks Redis for the user's epoch and, if this process knows nothing, for what another has read.
 * Never rejects: without Redis the local copy stands for its minute, and without one Mongo is read.
 */
export async function accessInCaches(
  userId: string,
  subaccountId: string,
): Promise<{ access: Access | undefined; epoch: string | undefined; failure?: unknown }> {
  const local = accessInMemory(userId, subaccountId);
  try {
    const keys = [epochKey(userId), ...(local ? [] : [accessKey(userId, subaccountId)])];
    const [epochText, text] = await redis.mget(keys);
    const epoch = epochText ?? "";
    const access = local ?? Access.safeParse(parseJson(text)).data; // garbage is as good as nothing
    if (!access || access.epoch !== epoch || !isFresh(access)) return { access: undefined, epoch };
    memory.set(`${subaccountId}:${userId}`, access);
    return { access, epoch };
  } catch (failure) {
    return { access: local, epoch: undefined, failure };
  }
}

/**
 * Reads membership and subaccount in Mongo, side by side, and keeps them: here at once, in Redis on the way of
 * whatever is sent there next.
 *
 * @param epoch The user's epoch as read before; undefined when Redis did not tell, and then Redis is not filled.
 * @throws When Mongo does not answer: a permission that cannot be decided is refused, never granted.
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
    // It leaves with the subaccount's limit, where that is counted. Lost, it costs the next one a read.
    const kept = redis.set(accessKey(userId, subaccountId), JSON.stringify(access), config().PERMISSION_CACHE_SECONDS);
    trailing.push(kept.catch(() => {}));
  }
  return access;
}

/** A subaccount as Mongo has it now; null when there is none. Its connection string stays encrypted. */
export async function loadSubaccount(subaccountId: string): Promise<Access["subaccount"]> {
  const projection = {
    isActive: 1,
    maintenanceMode: 1,
    maintenanceMessage: 1,
    databaseName: 1,
    mongodbUrl: 1,
    encryptionIV: 1,
  };
  const find = async () => {
    const { ObjectId } = await driver();
    return (await central()).collection("subaccounts").findOne({ _id: new ObjectId(subaccountId) }, { projection });
  };
  const found = await bounded(find());
  return found && subaccountOf(found);
}

async function findMembership(userId: string, subaccountId: string) {
  // The old server's ids are ObjectIds. Any other id of a token is a stranger's.
  if (!objectId.test(userId)) return null;
  const { ObjectId } = await driver();
  return (await central())
    .collection("usersubaccounts")
    .findOne(
      { userId: new ObjectId(userId), subaccountId: new ObjectId(subaccountId) },
      { projection: { role: 1, isActive: 1, permissions: 1, temporaryAccess: 1 } },
    );
}

/**
 * What of a subaccount's document matters here. Of a wrong type, what protects counts as closed, and what says where the
 * data is is not passed over: else a tenant would silently work on the central database.
 */
export function subaccountOf(document: Record<string, unknown>): NonNullable<Access["subaccount"]> {
  const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);
  const [databaseName, url, iv] = [document.databaseName, document.mongodbUrl, document.encryptionIV].map(text);
  const maintenanceMessage = text(document.maintenanceMessage);
  const unreadable = ["databaseName", "mongodbUrl"].find((name) => typeof (document[name] ?? "") !== "string");
  return {
    isActive: document.isActive === true,
    maintenanceMode: (document.maintenanceMode ?? false) !== false,
    ...(maintenanceMessage ? { maintenanceMessage } : {}),
    ...(databaseName ? { databaseName } : {}),
    ...(url ? { mongodbUrl: { text: url, ...(iv ? { iv } : {}) } } : {}),
    ...(unreadable ? { unreadable } : {}),
  };
}

/** Whatever Mongo says instead of an answer, the permission cannot be decided. */
function orUnreachable<T extends readonly unknown[]>(reads: T) {
  return Promise.all(reads).catch((cause) => {
    throw isUnreachable(cause) ? cause : new ApiError("CONNECTION_FAILED", { cause });
  });
}

/**
 * Makes every instance forget what it knows of a user, at its next request.
 *
 * @throws When Redis does not answer: then the change takes effect by itself within PERMISSION_CACHE_SECONDS.
 */
export async function forgetUser(userId: string): Promise<void> {
  // It outlives whatever was read before it.
  await redis.set(epochKey(canonicalUserId(userId)), crypto.randomUUID(), 3_600);
}

export type PermissionCheck =
  | { allowed: true; effectiveRole: string }
  | { allowed: false; effectiveRole: string; maintenance?: string | undefined };

/**
 * Whether the actor may do it. Flags decide, not roles; a super admin needs no membership, but the subaccount
 * must exist and be active. In maintenance its members stay out, a super admin does not.
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

/** Another instance's clock may be ahead of ours, by a little. */
function isFresh({ readAt }: Access): boolean {
  const age = Date.now() - readAt;
  return age > -5_000 && age < config().PERMISSION_CACHE_SECONDS * 1_000;
}

/** A temporary access without a readable end has ended, and so has one that is not readable at all. */
function expiryOf(temporaryAccess: unknown): number | null {
  const stored = (temporaryAccess ?? {}) as { constructor: unknown; enabled?: unknown; expiresAt?: unknown };
  if (stored.constructor !== Object) return 0;
  const { enabled, expiresAt } = stored;
  if ((enabled ?? false) === false) return null;
  const end = expiresAt instanceof Date ? expiresAt.getTime() : 0;
  return Number.isFinite(end) ? end : 0; // Redis would keep NaN as null, which is no end at all
}

const epochKey = (userId: string) => key("access", "epoch", userId);
const accessKey = (userId: string, subaccountId: string) => key("access", subaccountId, userId);
