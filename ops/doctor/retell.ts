import Retell, { APIError } from "retell-sdk";
import { config } from "../../lib/platform/config.ts";
import { decrypt } from "../../lib/platform/crypto.ts";
import { ApiError } from "../../lib/platform/errors.ts";
import { accountOf } from "../../lib/retell/account.ts";
import { errorName } from "../failure.ts";
import { commandContext } from "../tenants.ts";
import { clock, type Finding, ok, wrong } from "./finding.ts";

const timeoutMs = 10_000;

/** Whether Retell accepts the key of a subaccount's account, by one cheap read, and whether its webhook keys decrypt. */
export async function account(subaccountId: string): Promise<Finding[]> {
  const what = `Retell key of ${subaccountId}`;
  try {
    const { apiKey, name, encrypted } = await accountOf({ subaccountId, ...commandContext("doctor") });
    const keys = await webhookKeys(subaccountId, encrypted.webhookKeys ?? []);
    return [await accepted(what, apiKey, name), ...keys];
  } catch (error) {
    const code = error instanceof ApiError ? error.code : errorName(error);
    return [wrong(what, code, fixes[code] ?? "look at its document in retellaccounts")];
  }
}

/** Whether Retell accepts a key. */
export async function accepted(what: string, apiKey: string, name: string): Promise<Finding> {
  try {
    const retell = new Retell({ apiKey, baseURL: config().RETELL_BASE_URL, maxRetries: 0, logLevel: "off" });
    await retell.chat.list({ limit: 1 }, { timeout: timeoutMs });
    return ok(what, name);
  } catch (error) {
    if (error instanceof APIError && [401, 402, 403].includes(error.status ?? 0)) {
      const fix = "write the workspace's current key over apiKey; 402: its bill";
      return wrong(what, `Retell answers ${error.status}`, fix);
    }
    return wrong(what, errorName(error), "is RETELL_BASE_URL right, and may this machine reach it?");
  }
}

/** No finding where there are none: then the API key signs. */
async function webhookKeys(subaccountId: string, sealed: string[]): Promise<Finding[]> {
  const opened = await Promise.allSettled(sealed.map((text) => decrypt({ text }, subaccountId, "retell-salt")));
  const failed = opened.filter(({ status }) => status === "rejected").length;
  const what = `webhook keys of ${subaccountId}`;
  if (failed > 0) return [wrong(what, `${failed} of ${sealed.length} do not decrypt`, fixes.API_KEY_DECRYPTION_ERROR)];
  return sealed.length > 0 ? [ok(what, String(sealed.length))] : [];
}

const fixes: Record<string, string> & { API_KEY_DECRYPTION_ERROR: string } = {
  RETELL_ACCOUNT_INACTIVE: "its document in retellaccounts is missing, or isActive is not true",
  API_KEY_DECRYPTION_ERROR:
    "neither ENCRYPTION_KEY nor ENCRYPTION_KEYS_OLD decrypts it: add the key that did, or store it again",
};

/** Retell's clock, by the Date header of an answer: exact to the second. */
export async function retellClock(): Promise<Finding> {
  try {
    const { headers } = await fetch(config().RETELL_BASE_URL, {
      method: "HEAD",
      signal: AbortSignal.timeout(timeoutMs),
    });
    return clock("Retell", Date.parse(headers.get("date") ?? "") + 500, Date.now());
  } catch (error) {
    return wrong("Retell", errorName(error), "is RETELL_BASE_URL right, and may this machine reach it?");
  }
}
