import { verify } from "retell-sdk/lib/webhook_auth";
import { loadSubaccount } from "../../access/membership.ts";
import { openTenant } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
import type { RequestLog } from "../../platform/logger.ts";
import { Lru } from "../../platform/lru.ts";
import { drainSocketEvents, isUnreachable } from "../../platform/mongo.ts";
import { webhookKeysOf } from "../../retell/account.ts";
import type { Middleware } from "../call.ts";
import { valuesOf } from "../headers.ts";
import type { Route } from "../route.ts";

/** `v=<unix ms>,d=<64 hex>`; anything else is not worth a look at the database. */
const signatureFormat = /^v=(\d{13}),d=[0-9a-f]{64}$/;
const toleranceMs = 5 * 60_000;

/**
 * What this instance spends on forged deliveries of a subaccount in a minute, in bytes to hash. Webhooks may be large,
 * since transcripts are, so they are not counted one by one; the smallest costs something, too.
 */
const forgedBytes = 32 * 1024 * 1024;
const minForgedBytes = 16 * 1024;
const forgedMs = 60_000;
const forged = new Lru<{ bytes: number; until: number }>(1_000);

/**
 * Retell's signature over the raw body, in place of a token: by one of the account's webhook keys, not older than
 * five minutes. Whatever is wrong, an unknown subaccount too, is the same 401.
 *
 * @see Retell docs, "Secure the webhook"
 */
export function signature(route: Route): Middleware {
  return {
    before: async ({ event, internal: { state } }) => {
      const refused = () => new ApiError("INVALID_SIGNATURE");
      const params = route.params?.safeParse(event.pathParameters).data;
      const [header = "", ...others] = valuesOf(event, "x-retell-signature", { commas: 1 });
      const [, timestamp] = signatureFormat.exec(header) ?? [];
      if (!params || !timestamp || others.length > 0 || Math.abs(Date.now() - Number(timestamp)) > toleranceMs)
        throw refused();
      const { subaccountId } = params;
      const { log, trailing } = state;
      log.fields.subaccountId = subaccountId;
      refuseForgeries(subaccountId);

      // API Gateway may hand the body on as base64: what was signed are the bytes that Retell sent.
      const body = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8").toString("utf8");
      await drainSocketEvents();
      if (!(await isSigned(body, header, webhookKeysOf({ subaccountId, log, trailing }), log))) {
        countForged(subaccountId, Buffer.byteLength(body));
        throw refused();
      }

      const subaccount = await log.time("mongo", loadSubaccount(subaccountId));
      if (!subaccount) throw refused();
      state.tenant = await openTenant(subaccountId, subaccount, state);
      Object.assign(state, { params, rawBody: body });
    },
  };
}

/** @throws RATE_LIMIT_EXCEEDED: Retell sends a true delivery again, and the sweep finds what was missed. */
function refuseForgeries(subaccountId: string): void {
  const { bytes, until } = forged.get(subaccountId) ?? { bytes: 0, until: 0 };
  const leftMs = until - Date.now();
  if (leftMs <= 0 || bytes < forgedBytes) return;
  throw new ApiError("RATE_LIMIT_EXCEEDED", { retryAfter: Math.ceil(leftMs / 1_000) });
}

function countForged(subaccountId: string, bytes: number): void {
  const now = Date.now();
  const last = forged.get(subaccountId);
  const window = last && last.until > now ? last : { bytes: 0, until: now + forgedMs };
  window.bytes += Math.max(bytes, minForgedBytes);
  forged.set(subaccountId, window);
}

/** By one of the keys. All that are known are tried, so that the time tells nothing of which one it was. */
async function isSigned(
  body: string,
  header: string,
  keys: AsyncIterable<string[]>,
  log: RequestLog,
): Promise<boolean> {
  try {
    for await (const some of keys) {
      const verdicts = await Promise.all(some.map((key) => verify(body, key, header)));
      if (verdicts.includes(true)) return true;
    }
    return false;
  } catch (error) {
    if (isUnreachable(error)) throw error;
    // A tenant whose own secrets do not open looks like one that is not there: only our log knows.
    const isAbsent = error instanceof ApiError && error.code === "RETELL_ACCOUNT_INACTIVE";
    if (!isAbsent) log.error("A webhook cannot be verified", error);
    return false;
  }
}
