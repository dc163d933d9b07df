import type { ObjectId } from "mongodb";
import { decrypt } from "../../lib/platform/crypto.ts";
import { bounded, central } from "../../lib/platform/mongo.ts";
import { accepted } from "../doctor/retell.ts";

/** The fields of a Retell account's document that commands change. */
export interface AccountDocument {
  subaccountId: ObjectId;
  accountName?: string;
  apiKey?: string;
  encryptionIV?: string;
  encryptionAuthTag?: string;
  webhookKeys?: string[];
  isActive?: boolean;
  createdAt?: Date;
  updatedAt?: Date;
}

/** The collection of Retell accounts, as commands change it. */
export async function accountDocuments() {
  return (await central()).collection<AccountDocument>("retellaccounts");
}

export const accountDocument = async (subaccountId: ObjectId) =>
  bounded((await accountDocuments()).findOne({ subaccountId }));

/**
 * The decrypted keys of an account.
 *
 * @throws When one cannot be decrypted.
 */
export async function keysOf({ subaccountId, apiKey = "", encryptionIV, webhookKeys }: AccountDocument) {
  const id = subaccountId.toHexString();
  return {
    apiKey: await decrypt({ text: apiKey, iv: encryptionIV }, id, "retell-salt"),
    webhookKeys: await Promise.all((webhookKeys ?? []).map((text) => decrypt({ text }, id, "retell-salt"))),
  };
}

/**
 * Lets Retell check keys before anything is written. A key that signs webhooks is a key of the workspace, too.
 *
 * @throws An Error that says which one is refused.
 */
export async function checkAtRetell(keys: Partial<Record<string, string>>): Promise<void> {
  for (const [name, key] of Object.entries(keys)) {
    if (key === undefined) continue;
    if (!/^[\x21-\x7e]+$/.test(key)) throw new Error(`${name} has characters that no header can carry`);
    const { isOk, detail, fix } = await accepted(name, key, "");
    if (!isOk) throw new Error(`${name}: ${detail}; ${fix}`);
  }
}
