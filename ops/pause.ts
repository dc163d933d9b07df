import { central } from "../lib/platform/mongo.ts";
import { defineCommand, writeFlags } from "./command.ts";
import { reachable } from "./failure.ts";
import { changeSubaccount, subaccountDocument, subaccountDocuments } from "./subaccount/change.ts";
import { refuseWhich, whichFlags } from "./subaccount/which.ts";
import { stageTarget } from "./target.ts";

export const command = defineCommand({
  details:
    "For a restore: the sweep skips the subaccount, and webhooks get 503. Nothing is lost: npm run ops -- resume makes the sweep read every ongoing chat.\nWhat had begun before ends within two minutes.",
  flags: {
    ...whichFlags,
    requests: { type: "boolean", description: "refuse requests too: 503 SUBACCOUNT_PAUSED with Retry-After" },
    ...writeFlags,
  },
  refuse: refuseWhich,
  target: stageTarget,
  async run({ subaccount, requests, "dry-run": isDryRun }) {
    await reachable(central());
    const documents = subaccount
      ? [await subaccountDocument(subaccount)]
      : await (await subaccountDocuments()).find({}, { projection: { chatPause: 1 } }).toArray();
    const isPausedSo = (pause: (typeof documents)[number]["chatPause"]) => pause && (pause.requests || !requests);
    const toPause = documents.filter(({ chatPause }) => !isPausedSo(chatPause));
    const what = `sweep and webhooks${requests ? " and requests" : ""}`;
    for (const { _id, chatPause } of isDryRun ? [] : toPause) {
      // What is paused by itself stays so when the stage is resumed.
      const isOfAll = !subaccount && (!chatPause || chatPause.isOfAll);
      const $set = { chatPause: { at: new Date(), requests, ...(isOfAll ? { isOfAll: true as const } : {}) } };
      await changeSubaccount(_id.toHexString(), { $set });
    }
    const already = documents.length - toPause.length;
    console.log(`${isDryRun ? "would pause" : "paused"} ${what} of ${toPause.length}, ${already} were paused before`);
  },
});
