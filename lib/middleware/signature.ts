import { verify } from "retell-sdk/lib/webhook_auth";
import { loadSubaccount } from "../access.ts";
import { ApiError } from "../errors.ts";
import { isUnreachable } from "../mongo.ts";
import { webhookKeysOf } from "../retell/account.ts";
import type { Route } from "../route.ts";
import { openTenant } from "../tenant.ts";
import type { Rule } from "./chain.ts";

/** `v=<unix ms>,d=<64 hex>`; anything else is not worth a look at the database. */
const form = /^v=(\d{13}),d=[0-9a-f]{64}$/;
const toleranceMs = 5 * 60_000;

/**
 * Retell's signature over the raw body, in place of a token: by one of the account's webhook keys, not older than
 * five minutes. Whatever is wrong, an unknown subaccount too, is the same 401.
 *
 * @see Retell docs, "Secure the webhook"
 */
export function signature(route: Route): Rule {
  return {
    before: async ({ event, internal: { progress } }) => {
      const refused = () => new ApiError("INVALID_SIGNATURE");
      const params = route.params?.safeParse(event.pathParameters).data;
      const header = event.headers?.["x-retell-signature"] ?? "";
      const [, timestamp] = form.exec(header) ?? [];
      if (!params || !timestamp || Math.abs(Date.now() - Number(timestamp)) > toleranceMs) throw refused();
      const { subaccountId } = params;
      progress.log.fields.subaccountId = subaccountId;

      const subaccount = await progress.log.time("mongo", loadSubaccount(subaccountId));
      if (!subaccount) throw refused();
      // A tenant whose own secrets do not open looks like one that is not there: only our log knows.
      const broken = (error: unknown) => {
        progress.log.error("A webhook cannot be verified", error);
        return refused();
      };
      const tenant = await openTenant(subaccountId, subaccount, progress).catch((error) => {
        throw broken(error);
      });
      progress.tenant = tenant;

      // API Gateway may hand the body on as base64: what was signed are the bytes that Retell sent.
      const body = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8").toString("utf8");
      const keys = await webhookKeysOf(tenant).catch((error) => {
        if (isUnreachable(error)) throw error;
        throw error instanceof ApiError && error.code === "RETELL_ACCOUNT_INACTIVE" ? refused() : broken(error);
      });
      const verdicts = await Promise.all(keys.map((key) => verify(body, key, header)));
      if (!verdicts.includes(true)) throw refused();
      Object.assign(progress, { params, rawBody: body });
    },
  };
}
