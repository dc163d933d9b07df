import type { TenantContext } from "../lib/access/tenant.ts";
import * as schedule from "../lib/chat/store/schedule.ts";
import { adoptChatsSince, catchUp } from "../lib/chat/sweep/restored.ts";
import { central } from "../lib/platform/mongo.ts";
import { defineCommand, writeFlags } from "./command.ts";
import { reachable, whyNot } from "./failure.ts";
import {
  changeSubaccount,
  type SubaccountDocument,
  subaccountDocument,
  subaccountDocuments,
} from "./subaccount/change.ts";
import { refuseWhich, whichFlags } from "./subaccount/which.ts";
import { stageTarget } from "./target.ts";
import { mapAtMost, placeOf, withTenant } from "./tenants.ts";

/** Subaccounts that are resumed at a time. */
const atATime = 5;
const moveHint = "repeat npm run ops -- subaccount move, or take it back with its --undo";

export const command = defineCommand({
  details:
    "The sweep then reads every ongoing chat at Retell, and so finds what webhooks would have told.\nWith --restored-to it first stores the chats that Retell has and the restored database lacks, and reads what was said in all others. It may be interrupted and repeated; a subaccount for which that fails stays paused.",
  flags: {
    ...whichFlags,
    "restored-to": { type: "time", description: "the database was restored, and has what was written until then" },
    ...writeFlags,
  },
  refuse: refuseWhich,
  target: stageTarget,
  async run({ subaccount, "restored-to": restoredTo, "dry-run": isDryRun }) {
    await reachable(central());
    const chosen = subaccount
      ? [await subaccountDocument(subaccount)]
      : await (await subaccountDocuments()).find({}).toArray();
    // A restored central database has forgotten the pause.
    const isMeant = ({ chatPause }: SubaccountDocument) =>
      subaccount || restoredTo !== undefined || chatPause?.isOfAll === true;
    const meant = chosen.filter(isMeant).map(placeOf);
    // The old database may still refuse its writes, which only a move or its --undo ends.
    const moving = new Set(chosen.flatMap(({ _id, chatPause }) => (chatPause?.isOfMove ? [_id.toHexString()] : [])));
    const outcomes = await mapAtMost(atATime, meant, async (place) => {
      if (moving.has(place.id)) {
        console.error(`${place.id}: stays paused: its move was not finished: ${moveHint}`);
        return false;
      }
      try {
        const { adopted, woken } = await withTenant(place, "subaccount", (tenant) =>
          prepare(tenant, restoredTo, isDryRun),
        );
        if (!isDryRun) await changeSubaccount(place.id, { $unset: { chatPause: "" } });
        const would = isDryRun ? "would be " : "";
        const stored = restoredTo === undefined ? "" : `${adopted} chats of Retell ${would}stored, `;
        const reader = restoredTo === undefined ? " by the sweep" : "";
        console.log(`${place.id}: ${would}resumed; ${stored}${woken} ongoing chats ${would}read${reader}`);
        return true;
      } catch (error) {
        console.error(`${place.id}: stays paused: ${whyNot(error)}`);
        return false;
      }
    });
    if (meant.length === 0) console.log("Nothing was paused");
    const others = chosen.filter((one) => one.chatPause && !isMeant(one));
    for (const { _id, chatPause } of others) {
      const why = chatPause?.isOfMove
        ? `is being moved, and stays paused: ${moveHint}`
        : "was paused by itself, and stays so";
      console.log(`${_id.toHexString()}: ${why}`);
    }
    return outcomes.every(Boolean);
  },
});

/** Everything that must be done before a request may come. */
async function prepare(tenant: TenantContext, restoredTo: number | undefined, isDryRun: boolean) {
  const adopted = restoredTo === undefined ? 0 : await adoptChatsSince(tenant, restoredTo, isDryRun);
  if (isDryRun) return { adopted, woken: await schedule.countAsleep(tenant) };
  if (restoredTo !== undefined) return { adopted, woken: await catchUp(tenant) };
  let woken = 0;
  for (let some = await schedule.wakeSome(tenant); some > 0; some = await schedule.wakeSome(tenant)) woken += some;
  return { adopted, woken };
}
