import * as z from "zod";
import type { TenantContext } from "../access/tenant.ts";
import { open } from "../platform/crypto.ts";
import { ApiError, UnexpectedAnswer } from "../platform/errors.ts";
import { parseJson } from "../platform/json.ts";
import { Lru } from "../platform/lru.ts";
import { bounded, central, driver, isUnreachable } from "../platform/mongo.ts";
import { key, redis } from "../platform/redis.ts";

/** A change of an account takes effect within this time, counted from its last reading in Mongo. */
const lifetimeMs = 5 * 60_000;

const Sealed = z.object({
  /** When it was read in Mongo, epoch ms: its age counts from there, wherever it was cached since. */
  readAt: z.number(),
  id: z.string(),
  /** "" where the document has none. */
  name: z.string(),
  apiKey: z.object({ text: z.string().min(1), iv: z.string().optional() }),
  /** What Retell signs webhooks with, two during a rotation; absent: the API key. Encrypted like it. */
  webhookKeys: z.array(z.string().min(1)).optional(),
});

/** A Retell account as it may be cached: its key encrypted. */
type Sealed = z.infer<typeof Sealed>;

export interface Account {
  id: string;
  name: string;
  apiKey: string;
  sealed: Sealed;
}

/** Whose account, and for which request. */
type Place = Pick<TenantContext, "subaccountId" | "log" | "trailing">;

/** Clear keys live here, in memory alone, for five minutes. */
const known = new Lru<Account>(1_000);

/**
 * What Redis holds of a subaccount's account, encrypted; null when it holds nothing, when this process need not ask,
 * or when Redis does not answer. Never rejects.
 */
export function prefetch(subaccountId: string): Promise<string | null> {
  return known.get(subaccountId) ? Promise.resolve(null) : redis.get(cacheKey(subaccountId)).catch(() => null);
}

/**
 * The subaccount's Retell account: from memory, else from Redis, else from Mongo.
 *
 * @throws RETELL_ACCOUNT_INACTIVE, RETELL_FETCH_FAILED, API_KEY_DECRYPTION_ERROR, CONNECTION_FAILED
 */
export async function accountOf(tenant: Place & Pick<TenantContext, "account">): Promise<Account> {
  const recent = known.get(tenant.subaccountId);
  if (recent) return recent;
  const cached = Sealed.safeParse(parseJson(await tenant.account)).data;
  // A copy that does not decrypt may be of a key that has been mended since.
  const account = cached && isFresh(cached) && (await remember(tenant, cached).catch(() => undefined));
  return account || remember(tenant, await load(tenant));
}

/**
 * The clear keys that may have signed a webhook: those that are known here, and if none of them did, those that Mongo
 * has now. So new keys count at once. Whoever sends nonsense does not get a read in Mongo for each: a subaccount is
 * looked for once in ten seconds, and 50 of them at most.
 *
 * @throws What `accountOf` throws; CONNECTION_FAILED with retryAfter, too, when it cannot be looked for: nobody knows
 *         whether it is Retell, which comes again after a 503, and need not after a 401.
 */
export async function* webhookKeysOf(place: Place): AsyncGenerator<string[]> {
  const recent = known.get(place.subaccountId);
  if (recent) yield keysOf(recent, place).catch(() => []); // they may have been mended since
  yield keysOf(await remember(place, await look(place)), place);
}

/** By subaccount, in the order of time. */
const looks = new Map<string, { at: number; found: Promise<Sealed> }>();
const lookMs = 10_000;
const maxLooks = 50;

/**
 * The account as Mongo has it now, or had it a moment ago.
 *
 * @throws CONNECTION_FAILED with retryAfter when there were too many looks.
 */
function look(place: Place): Promise<Sealed> {
  const now = Date.now();
  for (const [id, { at }] of looks) {
    if (now - at < lookMs) break;
    looks.delete(id);
  }
  const recent = looks.get(place.subaccountId)?.found;
  if (recent) return recent;
  const [oldest] = looks.values();
  if (oldest && looks.size >= maxLooks) {
    const retryAfter = Math.ceil((oldest.at + lookMs - now) / 1_000);
    throw new ApiError("CONNECTION_FAILED", { message: "Too many webhooks of unknown subaccounts", retryAfter });
  }
  const found = load(place);
  looks.set(place.subaccountId, { at: now, found });
  // A database that did not answer has not been asked: once it is back, the next delivery is verified.
  found.catch((error) => isUnreachable(error) && looks.delete(place.subaccountId));
  return found;
}

async function keysOf({ apiKey, sealed }: Account, { subaccountId }: Place): Promise<string[]> {
  if (!sealed.webhookKeys?.length) return [apiKey];
  try {
    return await Promise.all(sealed.webhookKeys.map((text) => open({ text }, subaccountId, "retell-salt")));
  } catch (cause) {
    throw new ApiError("API_KEY_DECRYPTION_ERROR", { cause });
  }
}

/** Reads the account in Mongo again, whatever the caches say: after Retell refused the key that they hold. */
export async function reloadAccount(tenant: Place): Promise<Account> {
  known.delete(tenant.subaccountId);
  tenant.trailing.push(forgetAccount(tenant.subaccountId).catch(() => {}));
  return remember(tenant, await load(tenant));
}

/**
 * Makes Redis forget an account. What an instance holds in memory stays until it is five minutes old.
 *
 * @throws When Redis does not answer.
 */
export async function forgetAccount(subaccountId: string): Promise<void> {
  await redis.del(cacheKey(subaccountId));
}

/** Another instance's clock may be ahead of ours, by a little. */
function isFresh({ readAt }: Sealed): boolean {
  const age = Date.now() - readAt;
  return age > -5_000 && age < lifetimeMs;
}

async function remember({ subaccountId }: Place, sealed: Sealed): Promise<Account> {
  try {
    const apiKey = await open(sealed.apiKey, subaccountId, "retell-salt");
    // Left to the call, nobody could say whether that was sent.
    if (!/^[\x20-\x7e]+$/.test(apiKey)) throw new Error("The API key has characters that no header can carry");
    const account = { id: sealed.id, name: sealed.name, apiKey, sealed };
    known.set(subaccountId, account, sealed.readAt + lifetimeMs);
    return account;
  } catch (cause) {
    throw new ApiError("API_KEY_DECRYPTION_ERROR", { cause });
  }
}

async function load({ subaccountId, log, trailing }: Place): Promise<Sealed> {
  const readAt = Date.now();
  let found: Record<string, unknown> | null;
  try {
    found = await log.time("mongo", bounded(find(subaccountId)));
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
  const sealed = Sealed.safeParse({
    readAt,
    id: String(found._id),
    name: odd.accountName ? "" : name,
    apiKey: { text: found.apiKey, iv: odd.encryptionIV ? undefined : iv },
    webhookKeys: webhookKeys ?? undefined, // of any other type than a list of texts it is refused: it protects
  });
  if (!sealed.success)
    throw new ApiError("RETELL_FETCH_FAILED", { cause: new UnexpectedAnswer("A malformed Retell account") });

  trailing.push(redis.set(cacheKey(subaccountId), JSON.stringify(sealed.data), lifetimeMs / 1_000).catch(() => {}));
  return sealed.data;
}

async function find(subaccountId: string): Promise<Record<string, unknown> | null> {
  const { ObjectId } = await driver();
  return (await central())
    .collection("retellaccounts")
    .findOne(
      { subaccountId: new ObjectId(subaccountId) },
      { projection: { apiKey: 1, encryptionIV: 1, webhookKeys: 1, accountName: 1, isActive: 1 } },
    );
}

const cacheKey = (subaccountId: string) => key("retell", subaccountId);
