import * as z from "zod";
import type { TenantContext } from "../access/tenant.ts";
import { decrypt } from "../platform/crypto.ts";
import { ApiError, UnexpectedAnswer } from "../platform/errors.ts";
import { parseJson } from "../platform/json.ts";
import { Lru } from "../platform/lru.ts";
import { bounded, central, driver, isUnreachable } from "../platform/mongo.ts";
import { key, redis } from "../platform/redis.ts";
import { isYounger } from "../platform/time.ts";

/** How long an account is cached after it was read in Mongo. A change takes effect within this time. */
const maxAgeMs = 5 * 60_000;

const EncryptedAccount = z.object({
  /** When it was read in Mongo, epoch ms. Its age counts from then, in every cache. */
  readAt: z.number(),
  id: z.string(),
  /** "" where the document has none. */
  name: z.string(),
  apiKey: z.object({ text: z.string().min(1), iv: z.string().optional() }),
  /** The keys of webhook signatures, two during a rotation. Encrypted. Default: the API key. */
  webhookKeys: z.array(z.string().min(1)).optional(),
});

/** A Retell account with its keys encrypted, as it is cached. */
type EncryptedAccount = z.infer<typeof EncryptedAccount>;

export interface Account {
  id: string;
  name: string;
  apiKey: string;
  encrypted: EncryptedAccount;
}

/** The subaccount and the request for which its account is read. */
type AccountContext = Pick<TenantContext, "subaccountId" | "log" | "trailing">;

/** Accounts with decrypted keys, which exist only in memory, for five minutes. */
const accounts = new Lru<Account>(1_000);

/**
 * A subaccount's encrypted account in Redis; null when there is none, when this process has it in memory, or when Redis
 * does not answer. Never rejects.
 */
export function readCachedAccount(subaccountId: string): Promise<string | null> {
  return accounts.get(subaccountId) ? Promise.resolve(null) : redis.get(cacheKey(subaccountId)).catch(() => null);
}

/**
 * The subaccount's Retell account from memory, from Redis or from Mongo.
 *
 * @throws RETELL_ACCOUNT_INACTIVE, RETELL_FETCH_FAILED, API_KEY_DECRYPTION_ERROR, CONNECTION_FAILED
 */
export async function accountOf(tenant: AccountContext & Pick<TenantContext, "cachedAccount">): Promise<Account> {
  const recent = accounts.get(tenant.subaccountId);
  if (recent) return recent;
  const cached = EncryptedAccount.safeParse(parseJson(await tenant.cachedAccount)).data;
  // A copy that cannot be decrypted may be outdated.
  const account =
    cached && isYounger(cached.readAt, maxAgeMs) && (await decryptAndCache(tenant, cached).catch(() => undefined));
  return account || decryptAndCache(tenant, await loadAccount(tenant));
}

/**
 * The keys that may have signed a webhook: first those in memory, then, if the caller asks for more, those that Mongo has
 * now, so that a changed key takes effect immediately. Forged webhooks do not cause a Mongo read each: a subaccount is
 * read once in ten seconds, and at most 50 subaccounts.
 *
 * @throws What `accountOf` throws, and CONNECTION_FAILED with retryAfter when there were too many reads. The sender may be
 *         Retell, which repeats a webhook after a 503.
 */
export async function* webhookKeysOf(context: AccountContext): AsyncGenerator<string[]> {
  const recent = accounts.get(context.subaccountId);
  if (recent) yield webhookKeysIn(recent, context).catch(() => []); // Mongo may have keys that can be decrypted
  yield webhookKeysIn(await decryptAndCache(context, await loadAccountThrottled(context)), context);
}

/** By subaccount, the oldest first. */
const recentLookups = new Map<string, { at: number; found: Promise<EncryptedAccount> }>();
const lookupMs = 10_000;
const maxLookups = 50;

/**
 * The account as Mongo has it now, or had it in the last ten seconds.
 *
 * @throws CONNECTION_FAILED with retryAfter when there were too many lookups.
 */
function loadAccountThrottled(context: AccountContext): Promise<EncryptedAccount> {
  const now = Date.now();
  for (const [id, { at }] of recentLookups) {
    if (now - at < lookupMs) break;
    recentLookups.delete(id);
  }
  const recent = recentLookups.get(context.subaccountId)?.found;
  if (recent) return recent;
  const [oldest] = recentLookups.values();
  if (oldest && recentLookups.size >= maxLookups) {
    const retryAfter = Math.ceil((oldest.at + lookupMs - now) / 1_000);
    throw new ApiError("CONNECTION_FAILED", { message: "Too many webhooks of unknown subaccounts", retryAfter });
  }
  const found = loadAccount(context);
  recentLookups.set(context.subaccountId, { at: now, found });
  // A failed read does not count, so that the next delivery is verified once the database is back.
  found.catch((error) => isUnreachable(error) && recentLookups.delete(context.subaccountId));
  return found;
}

/**
 * The keys that may sign an account's webhooks.
 *
 * @throws API_KEY_DECRYPTION_ERROR
 */
export async function webhookKeysIn(
  { apiKey, encrypted }: Account,
  { subaccountId }: Pick<AccountContext, "subaccountId">,
): Promise<string[]> {
  if (!encrypted.webhookKeys?.length) return [apiKey];
  try {
    return await Promise.all(encrypted.webhookKeys.map((text) => decrypt({ text }, subaccountId, "retell-salt")));
  } catch (cause) {
    throw new ApiError("API_KEY_DECRYPTION_ERROR", { cause });
  }
}

/** Reads the account in Mongo, without the caches, after Retell has refused the cached key. */
export async function reloadAccount(tenant: AccountContext): Promise<Account> {
  accounts.delete(tenant.subaccountId);
  tenant.trailing.push(forgetAccount(tenant.subaccountId).catch(() => {}));
  return decryptAndCache(tenant, await loadAccount(tenant));
}

/**
 * Deletes an account in Redis. Instances keep theirs in memory until it is five minutes old.
 *
 * @throws RedisUnavailable
 */
export async function forgetAccount(subaccountId: string): Promise<void> {
  await redis.del(cacheKey(subaccountId));
}

async function decryptAndCache({ subaccountId }: AccountContext, encrypted: EncryptedAccount): Promise<Account> {
  try {
    const apiKey = await decrypt(encrypted.apiKey, subaccountId, "retell-salt");
    // Checked here: if the call failed because of it, nobody could tell whether the call was sent.
    if (!/^[\x20-\x7e]+$/.test(apiKey)) throw new Error("The API key has characters that no header can carry");
    const account = { id: encrypted.id, name: encrypted.name, apiKey, encrypted };
    accounts.set(subaccountId, account, encrypted.readAt + maxAgeMs);
    return account;
  } catch (cause) {
    throw new ApiError("API_KEY_DECRYPTION_ERROR", { cause });
  }
}

async function loadAccount({ subaccountId, log, trailing }: AccountContext): Promise<EncryptedAccount> {
  const readAt = Date.now();
  let found: Record<string, unknown> | null;
  try {
    found = await log.time("mongo", bounded(findDocument(subaccountId)));
  } catch (cause) {
    if (isUnreachable(cause)) throw cause;
    throw new ApiError("RETELL_FETCH_FAILED", { cause });
  }
  if (found?.isActive !== true) throw new ApiError("RETELL_ACCOUNT_INACTIVE");

  const { accountName: name, encryptionIV: iv, webhookKeys } = found;
  const odd = {
    accountName: typeof name !== "string",
    encryptionIV: iv !== undefined && typeof iv !== "string",
    webhookKeys: webhookKeys === null,
  };
  for (const [field, isOdd] of Object.entries(odd)) {
    if (isOdd) log.warn("A field of the Retell account is ignored", undefined, { field: `retellaccounts.${field}` });
  }
  const encrypted = EncryptedAccount.safeParse({
    readAt,
    id: String(found._id),
    name: odd.accountName ? "" : name,
    apiKey: { text: found.apiKey, iv: odd.encryptionIV ? undefined : iv },
    webhookKeys: webhookKeys ?? undefined, // any other type than a list of texts is refused, because it protects
  });
  if (!encrypted.success)
    throw new ApiError("RETELL_FETCH_FAILED", {
      cause: new UnexpectedAnswer("A malformed Retell account"),
      tenantCause: "account",
    });

  trailing.push(redis.set(cacheKey(subaccountId), JSON.stringify(encrypted.data), maxAgeMs / 1_000).catch(() => {}));
  return encrypted.data;
}

async function findDocument(subaccountId: string): Promise<Record<string, unknown> | null> {
  const { ObjectId } = await driver();
  return (await central())
    .collection("retellaccounts")
    .findOne(
      { subaccountId: new ObjectId(subaccountId) },
      { projection: { apiKey: 1, encryptionIV: 1, webhookKeys: 1, accountName: 1, isActive: 1 } },
    );
}

const cacheKey = (subaccountId: string) => key("retell", subaccountId);
