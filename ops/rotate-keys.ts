import type { Document } from "mongodb";
import * as z from "zod";
import { decrypt, encrypt, isUnderCurrentKey, type Salt } from "../lib/platform/crypto.ts";
import { central } from "../lib/platform/mongo.ts";
import { forgetAccount } from "../lib/retell/account.ts";
import { defineCommand, writeFlags } from "./command.ts";
import { reachable } from "./failure.ts";
import { stageTarget } from "./target.ts";

/** Where secrets are stored: a field in the old server's form or ours, and perhaps a list in ours. */
interface SecretFields {
  collection: "retellaccounts" | "subaccounts";
  field: "apiKey" | "mongodbUrl";
  list?: "webhookKeys";
  salt: Salt;
}

const stored: SecretFields[] = [
  { collection: "retellaccounts", field: "apiKey", list: "webhookKeys", salt: "retell-salt" },
  { collection: "subaccounts", field: "mongodbUrl", salt: "subaccount-salt" },
];

type Outcome = "rotated" | "pending" | "current" | "failed";

interface Rotated {
  outcome: Outcome;
  /** The fields, or why it failed. */
  what: string;
  /** Redis still holds the account that the old key encrypted. */
  isCacheStale?: boolean;
}

const Secret = z.string().min(1);

export const command = defineCommand({
  details:
    "The Retell accounts' apiKey and webhookKeys, and the subaccounts' mongodbUrl. It may be interrupted and repeated.",
  flags: {
    "old-server-gone": { type: "boolean", description: "confirm that no old server runs: it cannot read the new form" },
    ...writeFlags,
  },
  refuse: ({ "old-server-gone": isGone, "dry-run": isDryRun }) =>
    isGone || isDryRun ? undefined : "the old server cannot read what it writes: add --old-server-gone, or --dry-run",
  target: stageTarget,
  async run({ "dry-run": isDryRun }) {
    await reachable(central());
    const counts: Record<Outcome, number> = { rotated: 0, pending: 0, current: 0, failed: 0 };
    let staleCopies = 0;
    for (const fields of stored) {
      for await (const document of (await central()).collection(fields.collection).find(holdsSecrets(fields))) {
        const subaccountId = String(fields.collection === "subaccounts" ? document._id : document.subaccountId);
        const { outcome, what, isCacheStale } = await rotate(document, fields, subaccountId, isDryRun).catch(failure);
        counts[outcome] += 1;
        if (isCacheStale) staleCopies += 1;
        const line = `${outcome.padEnd(7)}  ${fields.collection} ${document._id}, subaccount ${subaccountId}: ${what}`;
        if (outcome === "failed") console.error(line);
        else console.log(line);
      }
    }
    if (staleCopies > 0) {
      console.error(`Redis did not answer: ${staleCopies} cached accounts need the old key for five more minutes`);
    }
    const said = Object.entries(counts).map(([outcome, count]) => `${count} ${outcome}`);
    console.log(said.join(", "));
    return counts.failed === 0;
  },
});

/** Every account must have a key; most subaccounts have no cluster of their own. */
function holdsSecrets({ collection, field }: SecretFields): Document {
  return collection === "subaccounts" ? { [field]: { $nin: [null, ""] } } : {};
}

async function rotate(
  document: Document,
  { collection, field, list, salt }: SecretFields,
  subaccountId: string,
  isDryRun: boolean,
): Promise<Rotated> {
  const text = Secret.parse(document[field]);
  const texts = z.array(Secret).parse((list && document[list]) ?? []);
  const what = [field, ...(texts.length > 0 ? [`${texts.length} ${list}`] : [])].join(", ");

  // All are decrypted, even those that are current: one that does not decrypt is reported.
  const iv = typeof document.encryptionIV === "string" ? document.encryptionIV : undefined;
  const secret = await decrypt({ text, iv }, subaccountId, salt);
  const secrets = await Promise.all(texts.map((one) => decrypt({ text: one }, subaccountId, salt)));
  const current = await Promise.all([text, ...texts].map(isUnderCurrentKey));
  if (current.every(Boolean)) return { outcome: "current", what };
  if (isDryRun) return { outcome: "pending", what };

  const sealed =
    list && texts.length > 0 ? await Promise.all(secrets.map((one) => encrypt(one, subaccountId))) : undefined;
  const { modifiedCount } = await (await central()).collection(collection).updateOne(
    { _id: document._id, ...asRead(document, [field, "encryptionIV", ...(list ? [list] : [])]) },
    {
      $set: { [field]: await encrypt(secret, subaccountId), ...(list && sealed ? { [list]: sealed } : {}) },
      $unset: { encryptionIV: "", encryptionAuthTag: "" },
    },
  );
  if (modifiedCount === 0) return { outcome: "failed", what: "changed meanwhile: run this again" };
  if (collection === "subaccounts") return { outcome: "rotated", what };
  const isCacheStale = await forgetAccount(subaccountId).then(
    () => false,
    () => true,
  );
  return { outcome: "rotated", what, isCacheStale };
}

/** Matches the document only while these fields are as they were read. */
function asRead(document: Document, fields: string[]): Document {
  return Object.fromEntries(fields.map((name) => [name, name in document ? document[name] : { $exists: false }]));
}

/** No part of a secret is in it: zod's messages say where something is wrong, and crypto's what. */
function failure(error: unknown): Rotated {
  if (error instanceof z.ZodError) return { outcome: "failed", what: "its secret is missing or not text" };
  return { outcome: "failed", what: error instanceof Error ? error.message : "failed" };
}
