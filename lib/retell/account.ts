import { ObjectId } from "mongodb";
import * as z from "zod";
import { open } from "../crypto.ts";
import { ApiError, UnexpectedAnswer } from "../errors.ts";
import { Lru } from "../lru.ts";
import { bounded, central, isUnreachable } from "../mongo.ts";
import { key, redis } from "../redis.ts";
import type { Tenant } from "../tenant.ts";

const lifetimeSeconds = 300;

const Sealed = z.object({
  id: z.string(),
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

/** Clear keys live here, in memory alone, for five minutes. */
const known = new Lru<{ account: Account; until: number }>(1_000);

/**
 * What Redis holds of a subaccount's account, encrypted; null when it holds nothing, when this process need not ask,
 * or when Redis does not answer. Never rejects.
 */
export function prefetch(subaccountId: string): Promise<string | null> {
  return recall(subaccountId) ? Promise.resolve(null) : redis.get(cacheKey(subaccountId)).catch(() => null);
}

/**
 * The subaccount's Retell account: from memory, else from Redis, else from Mongo.
 *
 * @throws RETELL_ACCOUNT_INACTIVE, RETELL_FETCH_FAILED, API_KEY_DECRYPTION_ERROR, CONNECTION_FAILED
 */
export async function accountOf(tenant: Tenant): Promise<Account> {
  const recent = recall(tenant.subaccountId);
  if (recent) return recent;
  const cached = parse(await tenant.account);
  // A copy that does not decrypt may be of a key that has been mended since.
  const account = cached && (await remember(tenant, cached).catch(() => undefined));
  return account ?? remember(tenant, await load(tenant));
}

/**
 * The clear keys that may sign a webhook of this account.
 *
 * @throws What `accountOf` throws.
 */
export async function webhookKeysOf(tenant: Tenant): Promise<string[]> {
  const { apiKey, sealed } = await accountOf(tenant);
  if (!sealed.webhookKeys?.length) return [apiKey];
  return Promise.all(sealed.webhookKeys.map((text) => open({ text }, tenant.subaccountId, "retell-salt")));
}

/** Reads the account in Mongo again, whatever the caches say: after Retell refused the key that they hold. */
export async function reloadAccount(tenant: Tenant): Promise<Account> {
  known.delete(tenant.subaccountId);
  tenant.trailing.push(forgetAccount(tenant.subaccountId).catch(() => {}));
  return remember(tenant, await load(tenant));
}

/**
 * Makes Redis forget an account. What an instance holds in memory stays for its five minutes.
 *
 * @throws When Redis does not answer.
 */
export async function forgetAccount(subaccountId: string): Promise<void> {
  await redis.del(cacheKey(subaccountId));
}

function recall(subaccountId: string): Account | undefined {
  const entry = known.get(subaccountId);
  return entry && entry.until > Date.now() ? entry.account : undefined;
}

async function remember(tenant: Tenant, sealed: Sealed): Promise<Account> {
  const { subaccountId } = tenant;
  try {
    const apiKey = await open(sealed.apiKey, subaccountId, "retell-salt");
    const account = { id: sealed.id, name: sealed.name, apiKey, sealed };
    known.set(subaccountId, { account, until: Date.now() + lifetimeSeconds * 1_000 });
    return account;
  } catch (cause) {
    throw new ApiError("API_KEY_DECRYPTION_ERROR", { cause });
  }
}

async function load({ subaccountId, log, trailing }: Tenant): Promise<Sealed> {
  let found: Record<string, unknown> | null;
  try {
    found = await log.time(
      "mongo",
      bounded(
        central()
          .collection("retellaccounts")
          .findOne(
            { subaccountId: new ObjectId(subaccountId) },
            { projection: { apiKey: 1, encryptionIV: 1, webhookKeys: 1, accountName: 1, isActive: 1 } },
          ),
      ),
    );
  } catch (cause) {
    if (isUnreachable(cause)) throw cause;
    throw new ApiError("RETELL_FETCH_FAILED", { cause });
  }
  if (found?.isActive !== true) throw new ApiError("RETELL_ACCOUNT_INACTIVE");

  const sealed = Sealed.safeParse({
    id: String(found._id),
    name: found.accountName,
    apiKey: { text: found.apiKey, iv: found.encryptionIV },
    webhookKeys: found.webhookKeys,
  });
  if (!sealed.success)
    throw new ApiError("RETELL_FETCH_FAILED", { cause: new UnexpectedAnswer("A malformed Retell account") });

  trailing.push(redis.set(cacheKey(subaccountId), JSON.stringify(sealed.data), lifetimeSeconds).catch(() => {}));
  return sealed.data;
}

function parse(text: string | null | undefined): Sealed | undefined {
  if (!text) return undefined;
  try {
    return Sealed.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

const cacheKey = (subaccountId: string) => key("retell", subaccountId);
