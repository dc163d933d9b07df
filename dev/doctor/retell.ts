import Retell, { APIError } from "retell-sdk";
import { config } from "../../lib/config.ts";
import { ApiError } from "../../lib/errors.ts";
import { accountOf } from "../../lib/retell/account.ts";
import { aLog, clock, type Finding, ill, saying, well } from "./finding.ts";

const timeoutMs = 10_000;

/** Whether a subaccount has an account whose key Retell takes: one cheap read, of one chat at most. */
export async function account(subaccountId: string): Promise<Finding> {
  const what = `Retell key of ${subaccountId}`;
  try {
    const { apiKey, name } = await accountOf({ subaccountId, log: aLog(), trailing: [] });
    const retell = new Retell({ apiKey, baseURL: config().RETELL_BASE_URL, maxRetries: 0, logLevel: "off" });
    await retell.chat.list({ limit: 1 }, { timeout: timeoutMs });
    return well(what, name);
  } catch (error) {
    if (error instanceof APIError && [401, 402, 403].includes(error.status ?? 0)) {
      return ill(
        what,
        `Retell answers ${error.status}`,
        "write the workspace's current key over apiKey; 402: its bill",
      );
    }
    if (error instanceof ApiError)
      return ill(what, error.code, mends[error.code] ?? "look at its document in retellaccounts");
    return ill(what, saying(error), "is RETELL_BASE_URL right, and may this machine go there?");
  }
}

const mends: Partial<Record<ApiError["code"], string>> = {
  RETELL_ACCOUNT_INACTIVE: "its document in retellaccounts is missing, or isActive is not true",
  API_KEY_DECRYPTION_ERROR:
    "neither ENCRYPTION_KEY nor ENCRYPTION_KEYS_OLD opens it: add the key that did, or write apiKey anew",
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
