import { type Backfilled, backfill } from "../lib/chat/backfill.ts";
import { central } from "../lib/platform/mongo.ts";
import { defineCommand, writeFlags } from "./command.ts";
import { reachable, whyNot } from "./failure.ts";
import { stageTarget } from "./target.ts";
import { allSubaccounts, type Subaccount, subaccountsOf, withTenant } from "./tenants.ts";

const progressMs = 5_000;

export const command = defineCommand({
  details:
    "For chats that were there before filters, analytics and search, or that the old server has ended. Requests go on meanwhile. It may be interrupted and repeated: a repeat writes only what is still missing.",
  flags: {
    subaccount: { type: "id", description: "this subaccount" },
    all: { type: "boolean", description: "every subaccount, active or not" },
    ...writeFlags,
  },
  target: stageTarget,
  refuse: ({ subaccount, all }) =>
    (subaccount === undefined) === all ? undefined : "--subaccount ID or --all is needed",
  async run({ subaccount, "dry-run": isDryRun }) {
    await reachable(central());
    const places = subaccount === undefined ? await allSubaccounts() : await subaccountsOf(subaccount);
    if (subaccount !== undefined && places.length === 0) throw new Error(`There is no subaccount ${subaccount}`);
    let failed = 0;
    for (const place of places) {
      try {
        await one(place, isDryRun);
      } catch (error) {
        failed += 1;
        console.error(`subaccount ${place.id}: ${whyNot(error)}`);
      }
    }
    if (subaccount === undefined) console.log(`${places.length} subaccounts, ${failed} failed`);
    return failed === 0;
  },
});

async function one(place: Subaccount, isDryRun: boolean): Promise<void> {
  const startedAt = Date.now();
  let told = startedAt;
  const done = await withTenant(place, "backfill", (tenant) =>
    backfill(tenant, isDryRun, (soFar) => {
      if (Date.now() - told < progressMs) return;
      told = Date.now();
      console.error(`subaccount ${place.id}: ${line(soFar, isDryRun)}`);
    }),
  );
  console.log(`subaccount ${place.id}: ${line(done, isDryRun)} in ${((Date.now() - startedAt) / 1_000).toFixed(1)} s`);
}

function line({ chats, stats, tags, words, changed }: Backfilled, isDryRun: boolean): string {
  const verb = isDryRun ? "missing" : "written";
  return `${chats} chats read; ${verb}: stats ${stats}, tags ${tags}, words ${words}; changed meanwhile: ${changed}`;
}
