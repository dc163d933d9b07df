import { ObjectId, type UpdateFilter } from "mongodb";
import Retell, { APIError } from "retell-sdk";
import * as chats from "../../lib/chat/store/chats.ts";
import { config } from "../../lib/platform/config.ts";
import { encrypt } from "../../lib/platform/crypto.ts";
import { bounded } from "../../lib/platform/mongo.ts";
import { forgetAccount } from "../../lib/retell/account.ts";
import { defineCommand, writeFlags } from "../command.ts";
import { whyNot } from "../failure.ts";
import { stageTarget } from "../target.ts";
import { subaccountsOf, withTenant } from "../tenants.ts";
import { type AccountDocument, accountDocument, accountDocuments, checkAtRetell, keysOf } from "./retell-account.ts";
import { readSecrets, seal, secretFlags, storing } from "./secrets.ts";

/** Keys that may sign webhooks at a time: each delivery is tried with all. */
const maxSigners = 3;
/** Chats that the new key is asked for: the newest may have been deleted at Retell. */
const witnesses = 5;

export const command = defineCommand({
  details: `SUBACCOUNT_RETELL_KEY is the new API key, SUBACCOUNT_WEBHOOK_KEY another key that signs webhooks. Retell checks both before anything is written.
Keys that signed webhooks before stay valid for them, until a run with --only.`,
  flags: {
    subaccount: { type: "id", description: "the subaccount", required: true },
    only: { type: "boolean", description: "refuse webhooks that are signed with an earlier key" },
    "other-workspace": {
      type: "boolean",
      description: "the new key is another workspace's, which has none of the chats",
    },
    ...secretFlags,
    "old-server-gone": {
      type: "boolean",
      description: "confirm that no old server runs: it cannot read a new key in our form",
    },
    ...writeFlags,
  },
  target: stageTarget,
  async run({ subaccount: id, only, stdin, "dry-run": isDryRun, ...values }) {
    const given = await readSecrets(stdin);
    const { SUBACCOUNT_RETELL_KEY: newKey, SUBACCOUNT_WEBHOOK_KEY: webhookKey } = given;
    if (!newKey && !webhookKey && !only) {
      throw new Error("SUBACCOUNT_RETELL_KEY or SUBACCOUNT_WEBHOOK_KEY must be set, or given with --stdin");
    }
    const account = await accountDocument(new ObjectId(id));
    if (!account) throw new Error(`${id} has no Retell account: npm run ops -- subaccount add makes one`);
    // Keys that cannot be decrypted are a reason to come here.
    const known = await keysOf(account).catch(() => undefined);
    if (!known && !newKey) throw new Error("The stored keys cannot be decrypted: set SUBACCOUNT_RETELL_KEY");
    const apiKey = newKey ?? known?.apiKey ?? "";
    if (newKey && account.encryptionIV && !values["for-old-server"] && !values["old-server-gone"]) {
      throw new Error(
        "The stored key has the old server's form, and it cannot read ours: add --for-old-server, or --old-server-gone",
      );
    }

    await checkAtRetell({ SUBACCOUNT_RETELL_KEY: newKey, SUBACCOUNT_WEBHOOK_KEY: webhookKey });
    if (newKey && !values["other-workspace"]) await refuseOtherWorkspace(id, newKey);

    const before = known ? (known.webhookKeys.length > 0 ? known.webhookKeys : [known.apiKey]) : [];
    const signers = [...new Set([webhookKey ?? apiKey, ...(only ? [] : before)])].slice(0, maxSigners);
    const what = `${newKey ? "a new API key, " : ""}${signers.length} keys sign webhooks`;
    if (isDryRun) return console.log(`${id}: would have ${what}`);
    const update = await updateOf(id, { newKey, apiKey, signers, forOldServer: values["for-old-server"] });
    const asRead = {
      _id: account._id,
      apiKey: account.apiKey ?? { $exists: false },
      webhookKeys: account.webhookKeys ?? { $exists: false },
    };
    const { modifiedCount } = await bounded((await accountDocuments()).updateOne(asRead, update));
    if (modifiedCount === 0) throw new Error("The account was changed meanwhile: run this again");
    await forgetAccount(id).catch(() =>
      console.error("Redis did not answer: it has the old key for five more minutes"),
    );
    console.log(`${id}: has ${what}`);
    // An instance reads the account again when Retell or a signature refuses what it has in memory.
    if (newKey) console.log("Instances use the old API key for five minutes, or until Retell refuses it");
  },
});

interface Keys {
  newKey: string | undefined;
  /** The new one, or the one that stays. */
  apiKey: string;
  signers: string[];
  forOldServer: boolean;
}

/** An API key that stays is not written: an old server may read it. */
async function updateOf(
  id: string,
  { newKey, apiKey, signers, forOldServer }: Keys,
): Promise<UpdateFilter<AccountDocument>> {
  const { $set, $unset } = newKey
    ? storing("apiKey", await seal(newKey, id, "retell-salt", forOldServer))
    : { $set: {}, $unset: {} };
  const isApiKeyAlone = signers.length === 1 && signers[0] === apiKey;
  const webhookKeys = await Promise.all(signers.map((key) => encrypt(key, id)));
  return {
    $set: { ...$set, updatedAt: new Date(), ...(isApiKeyAlone ? {} : { webhookKeys }) },
    $unset: { ...$unset, ...(isApiKeyAlone ? { webhookKeys: "" as const } : {}) },
  };
}

/** With another workspace's key, Retell would show none of the subaccount's chats, and none could go on. */
async function refuseOtherWorkspace(id: string, apiKey: string): Promise<void> {
  const [subaccount] = await subaccountsOf(id);
  if (!subaccount) throw new Error(`There is no subaccount ${id}`);
  const newest = await withTenant(subaccount, "subaccount", (tenant) => chats.page(tenant, witnesses, undefined)).catch(
    (error) => {
      throw new Error(
        `Its chats cannot be read, to ask Retell for one: ${whyNot(error)}; --other-workspace asks for none`,
      );
    },
  );
  const retell = new Retell({ apiKey, baseURL: config().RETELL_BASE_URL, maxRetries: 0, logLevel: "off" });
  for (const { chat_id } of newest) {
    const shown = await retell.chat.retrieve(String(chat_id), { timeout: 10_000 }).then(
      () => true,
      (error) => {
        if (error instanceof APIError && [404, 422].includes(error.status ?? 0)) return false;
        throw new Error("Retell did not answer for a chat of the subaccount: try again");
      },
    );
    if (shown) return;
  }
  if (newest.length > 0) {
    throw new Error(
      "Retell shows this key none of the newest chats: it is another workspace's. --other-workspace takes it",
    );
  }
}
