import { verify } from "retell-sdk/lib/webhook_auth";
import { loadSubaccount } from "../../access/subaccount.ts";
import { openTenant } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
import type { RequestLog } from "../../platform/logger.ts";
import { Lru } from "../../platform/lru.ts";
import { drainSocketEvents, isUnreachable } from "../../platform/mongo.ts";
import { webhookKeysOf } from "../../retell/account.ts";
import type { Middleware } from "../call.ts";
import { valuesOf } from "../headers.ts";
import type { Route } from "../route.ts";

/** `v=<unix ms>,d=<64 hex>`. Anything else is refused without a database read. */
const signatureFormat = /^v=(\d{13}),d=[0-9a-f]{64}$/;
const toleranceMs = 5 * 60_000;

/** Retell's own waits between its deliveries are not documented: this is what we would like. */
const pausedRetrySeconds = 60;

/**
 * How many bytes of forged deliveries this instance hashes per subaccount and minute. Bytes and not deliveries are
 * counted, because webhooks contain transcripts and may be large. Each counts as 16 KiB or more.
 */
const forgedBytes = 32 * 1024 * 1024;
const minForgedBytes = 16 * 1024;
const forgedMs = 60_000;
const forged = new Lru<{ bytes: number; until: number }>(1_000);

/**
 * Verifies Retell's signature over the raw body, by one of the account's webhook keys, not older than five minutes.
 * Every refusal is the same 401, also for an unknown subaccount.
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

      // API Gateway may pass the body as base64. Retell has signed the bytes that it sent.
      const body = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8").toString("utf8");
      await drainSocketEvents();
      if (!(await isSigned(body, header, webhookKeysOf({ subaccountId, log, trailing }), log))) {
        countForged(subaccountId, Buffer.byteLength(body));
        throw refused();
      }

      const subaccount = await log.time("mongo", loadSubaccount(subaccountId));
      if (!subaccount) throw refused();
      // Retell repeats the delivery a few times. What it gives up, the sweep finds after the pause.
      if (subaccount.paused) throw new ApiError("SUBACCOUNT_PAUSED", { retryAfter: pausedRetrySeconds });
      state.tenant = await openTenant(subaccountId, subaccount, state);
      Object.assign(state, { params, rawBody: body });
    },
  };
}

/** @throws RATE_LIMIT_EXCEEDED. Retell repeats a genuine delivery, and the sweep handles what is still missed. */
function refuseForgeries(subaccountId: string): void {
  const { bytes, until } = forged.get(subaccountId) ?? { bytes: 0, until: 0 };
  const leftMs = until - Date.now();
  if (leftMs <= 0 || bytes < forgedBytes) return;
  throw new ApiError("RATE_LIMIT_EXCEEDED", {
    retryAfter: Math.ceil(leftMs / 1_000),
    details: { limit: "subaccount" },
  });
}

function countForged(subaccountId: string, bytes: number): void {
  const now = Date.now();
  const last = forged.get(subaccountId);
  const window = last && last.until > now ? last : { bytes: 0, until: now + forgedMs };
  window.bytes += Math.max(bytes, minForgedBytes);
  forged.set(subaccountId, window);
}

/** Whether one of the keys has signed it. All keys are tried, so that the time does not tell which one it was. */
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
    // For the caller, a tenant whose secrets cannot be decrypted looks like an unknown one. The log tells them apart.
    const isAbsent = error instanceof ApiError && error.code === "RETELL_ACCOUNT_INACTIVE";
    if (!isAbsent) log.error("A webhook cannot be verified", error);
    return false;
  }
}
