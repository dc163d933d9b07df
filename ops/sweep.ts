import { handler } from "../functions/sweep.ts";
import { central } from "../lib/platform/mongo.ts";
import { defineCommand, writeFlags } from "./command.ts";
import { reachable, whyNot } from "./failure.ts";
import { stageTarget } from "./target.ts";
import { mapAtMost, type Subaccount, subaccountsOf, withTenant } from "./tenants.ts";

export const command = defineCommand({
  details: "Prints what it did as JSON. The dry run counts the chats that are due; it does not look for orphans.",
  flags: writeFlags,
  target: stageTarget,
  async run({ "dry-run": isDryRun }) {
    await reachable(central()); // without it the sweep would log at length why it cannot begin
    if (!isDryRun) {
      console.log(JSON.stringify(await handler()));
      return true;
    }
    const counts = await mapAtMost(10, await subaccountsOf(), countDue);
    const due = counts.reduce<number>((sum, count) => sum + (count ?? 0), 0);
    console.log(
      JSON.stringify({ subaccounts: counts.length, due, failed: counts.filter((c) => c === undefined).length }),
    );
    return !counts.includes(undefined);
  },
});

async function countDue(subaccount: Subaccount): Promise<number | undefined> {
  try {
    return await withTenant(subaccount, "sweep", async (tenant) =>
      (await reachable(tenant.db()))
        .collection("chats")
        .countDocuments({ subaccountId: subaccount.id, "internal.nextSweepAt": { $lte: new Date() } }),
    );
  } catch (error) {
    console.error(`subaccount ${subaccount.id}: ${whyNot(error)}`);
    return undefined;
  }
}
