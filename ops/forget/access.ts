import { forgetUser } from "../../lib/access/membership.ts";
import { bounded, central, driver } from "../../lib/platform/mongo.ts";
import { defineCommand, writeFlags } from "../command.ts";
import { stageTarget } from "../target.ts";

export const command = defineCommand({
  details: "Without it, a changed or deleted membership takes effect within a minute.",
  flags: { user: { type: "text", description: "the user's id", required: true }, ...writeFlags },
  target: stageTarget,
  async run({ user, "dry-run": isDryRun }) {
    // A deleted membership is no error: it is a reason to run this.
    if (!(await isMember(user))) console.error(`No membership of ${user} is stored: is the id right?`);
    if (isDryRun) return console.log(`${user}: permissions would be read again by every instance`);
    await forgetUser(user).catch((cause) => {
      throw new Error("Redis did not answer: the change takes effect by itself within a minute", { cause });
    });
    console.log(`${user}: every instance reads the permissions again at its next request`);
  },
});

/** True also where Mongo does not answer: then nothing is known against it. */
async function isMember(user: string): Promise<boolean> {
  const { ObjectId } = await driver();
  if (!/^[0-9a-f]{24}$/i.test(user)) return false;
  const find = async () =>
    (await central()).collection("usersubaccounts").findOne({ userId: new ObjectId(user) }, { projection: { _id: 1 } });
  return bounded(find()).then(Boolean, () => true);
}
