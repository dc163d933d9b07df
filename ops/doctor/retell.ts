import Retell, { APIError } from "retell-sdk";
import { config } from "../../lib/platform/config.ts";
import { decrypt } from "../../lib/platform/crypto.ts";
import { ApiError } from "../../lib/platform/errors.ts";
import { accountOf } from "../../lib/retell/account.ts";
import { aLog, clock, type Finding, ill, saying, well } from "./finding.ts";

const timeoutMs = 10_000;

/** Whether a subaccount has an account whose key Retell takes, by one cheap read, and whether its webhook keys open. */
export async function account(subaccountId: string): Promise<Finding[]> {
  const what = `Retell key of ${subaccountId}`;
  try {
    const { apiKey, name, sealed } = await accountOf({ subaccountId, log: aLog(), trailing: [] });
    const keys = await webhookKeys(subaccountId, sealed.webhookKeys ?? []);
    return [await taken(what, apiKey, name), ...keys];
  } catch (error) {
    const code = error instanceof ApiError ? error.code : saying(error);
    return [ill(what, code, mends[code] ?? "look at its document in retellaccounts")];
  }
}

async function taken(what: string, apiKey: string, name: string): Promise<Finding> {
  try {
    const retell = new Retell({ apiKey, baseURL: config().RETELL_BASE_URL, maxRetries: 0, logLevel: "off" });
    await retell.chat.list({ limit: 1 }, { timeout: timeoutMs });
    return well(what, name);
  } catch (error) {
    if (error instanceof APIError && [401, 402, 403].includes(error.status ?? 0)) {
      const mend = "write the workspace's current key over apiKey; 402: its bill";
      return ill(what, `Retell answers ${error.status}`, mend);
    }
    return ill(what, saying(error), "is RETELL_BASE_URL right, and may this machine go there?");
  }
}

/** Nothing where there are none: then the API key signs. */
async function webhookKeys(subaccountId: string, sealed: string[]): Promise<Finding[]> {
  const opened = await Promise.allSettled(sealed.map((text) => decrypt({ text }, subaccountId, "retell-salt")));
  const shut = opened.filter(({ status }) => status === "rejected").length;
  const what = `webhook keys of ${subaccountId}`;
  if (shut > 0) return [ill(what, `${shut} of ${sealed.length} do not open`, mends.API_KEY_DECRYPTION_ERROR)];
  return sealed.length > 0 ? [well(what, String(sealed.length))] : [];
}

const mends: Record<string, string> & { API_KEY_DECRYPTION_ERROR: string } = {
  RETELL_ACCOUNT_INACTIVE: "its document in retellaccounts is missing, or isActive is not true",
  API_KEY_DECRYPTION_ERROR:
    "neither ENCRYPTION_KEY nor ENCRYPTION_KEYS_OLD opens it: add the key that did, or write it anew",
};

/** Retell's clock, by the header that any answer has: to the second. */
export async function retellClock(): Promise<Finding> {
  try {
    const { headers } = await fetch(config().RETELL_BASE_URL, {
      method: "HEAD",
      signal: AbortSignal.timeout(timeoutMs),
    });
    return clock("Retell", Date.parse(headers.get("date") ?? "") + 500, Date.now());
  } catch (error) {
    return ill("Retell", saying(error), "is RETELL_BASE_URL right, and may this machine go there?");
  }
}
