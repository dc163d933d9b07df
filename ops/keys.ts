/**
 * `npm run keys:rotate -- --old-server-gone`: encrypts every stored secret anew, under the current ENCRYPTION_KEY: the
 * Retell accounts' `apiKey` and `webhookKeys`, and the subaccounts' `mongodbUrl`. Safe to repeat, and to break off.
 */
import { parseArgs } from "node:util";
import type { Document } from "mongodb";
import * as z from "zod";
import { decrypt, encrypt, isUnderCurrentKey, type Salt } from "../lib/platform/crypto.ts";
import { central } from "../lib/platform/mongo.ts";
import { forgetAccount } from "../lib/retell/account.ts";
import { reached, runTool } from "./run-tool.ts";
import { confirmWrite } from "./target.ts";

/** Where secrets stand: one in the old server's form or ours, and a list of ours alone. */
interface Place {
  collection: "retellaccounts" | "subaccounts";
  field: "apiKey" | "mongodbUrl";
  list?: "webhookKeys";
  salt: Salt;
}

const places: Place[] = [
  { collection: "retellaccounts", field: "apiKey", list: "webhookKeys", salt: "retell-salt" },
  { collection: "subaccounts", field: "mongodbUrl", salt: "subaccount-salt" },
];

type Outcome = "rotated" | "pending" | "current" | "failed";

const Secret = z.string().min(1);

const flag = { type: "boolean" } as const;
let isDryRun = false;
let staleCopies = 0;

await runTool(async () => {
  const { values } = parseArgs({ options: { "old-server-gone": flag, "dry-run": flag, yes: flag } });
  if (!values["old-server-gone"] && !values["dry-run"]) {
    console.error("The old server cannot read what this writes. Once nothing of it runs: --old-server-gone");
    throw new Error("What would be done: --dry-run");
  }
  isDryRun = values["dry-run"] ?? false;
  if (!isDryRun) await confirmWrite(values.yes);

  await reached(central());
  const counts: Record<Outcome, number> = { rotated: 0, pending: 0, current: 0, failed: 0 };
  for (const place of places) {
    for await (const document of (await central()).collection(place.collection).find(holdsSecrets(place))) {
      const subaccountId = String(place.collection === "subaccounts" ? document._id : document.subaccountId);
      const { outcome, what } = await rotate(document, place, subaccountId).catch((error: unknown) => ({
        outcome: "failed" as const,
        what: whyNot(error),
      }));
      counts[outcome] += 1;
      const line = `${outcome.padEnd(7)}  ${place.collection} ${document._id}, subaccount ${subaccountId}: ${what}`;
      if (outcome === "failed") console.error(line);
      else console.log(line);
    }
  }

  if (staleCopies > 0) {
    console.error(`Redis did not answer: ${staleCopies} cached accounts need the old key for five minutes more`);
  }
  console.log(
    Object.entries(counts)
      .map(([outcome, count]) => `${count} ${outcome}`)
      .join(", "),
  );
  process.exitCode = counts.failed > 0 ? 1 : 0;
});

/** All accounts have a key, or are broken; most subaccounts have no cluster of their own. */
function holdsSecrets({ collection, field }: Place): Document {
  return collection === "subaccounts" ? { [field]: { $nin: [null, ""] } } : {};
}

async function rotate(
  document: Document,
  place: Place,
  subaccountId: string,
): Promise<{ outcome: Outcome; what: string }> {
  const { collection, field, list, salt } = place;
  const text = Secret.parse(document[field]);
  const texts = z.array(Secret).parse((list && document[list]) ?? []);
  const what = [field, ...(texts.length > 0 ? [`${texts.length} ${list}`] : [])].join(", ");

  // All of them are opened, also those that need no rotation: one that is broken is to be known.
  const iv = typeof document.encryptionIV === "string" ? document.encryptionIV : undefined;
  const secret = await decrypt({ text, iv }, subaccountId, salt);
  const secrets = await Promise.all(texts.map((one) => decrypt({ text: one }, subaccountId, salt)));
  const current = await Promise.all([text, ...texts].map(isUnderCurrentKey));
  if (current.every(Boolean)) return { outcome: "current", what };
  if (isDryRun) return { outcome: "pending", what };

  const { modifiedCount } = await (await central()).collection(collection).updateOne(
    { _id: document._id, ...asRead(document, [field, "encryptionIV", ...(list ? [list] : [])]) },
    {
      $set: {
        [field]: await encrypt(secret, subaccountId),
        ...(list && texts.length > 0
          ? { [list]: await Promise.all(secrets.map((one) => encrypt(one, subaccountId))) }
          : {}),
      },
      $unset: { encryptionIV: "", encryptionAuthTag: "" },
    },
  );
  if (modifiedCount === 0) return { outcome: "failed", what: "changed meanwhile: run this once more" };
  if (collection === "retellaccounts") {
    await forgetAccount(subaccountId).catch(() => {
      staleCopies += 1;
    });
  }
  return { outcome: "rotated", what };
}

/** Matches the document only while these fields are as they were read. */
function asRead(document: Document, fields: string[]): Document {
  return Object.fromEntries(fields.map((name) => [name, name in document ? document[name] : { $exists: false }]));
}

/** Without a word of what was read: zod's own messages say where something is wrong, and crypto's what. */
function whyNot(error: unknown): string {
  if (error instanceof z.ZodError) return "its secret is missing or no text";
  return error instanceof Error ? error.message : "failed";
}
