/** `npm run access:forget -- --user ID`: every instance forgets at once what it knows of a user's permissions. */
import { parseArgs } from "node:util";
import { forgetUser } from "../lib/access/membership.ts";
import { bounded, central, driver } from "../lib/platform/mongo.ts";
import { runTool } from "./run-tool.ts";
import { confirmWrite } from "./target.ts";

await runTool(async () => {
  const { user, yes } = parseArgs({ options: { user: { type: "string" }, yes: { type: "boolean" } } }).values;
  if (!user) throw new Error("Usage: npm run access:forget -- --user ID");
  await confirmWrite(yes);
  try {
    await forgetUser(user);
  } catch (error) {
    throw new Error("Redis did not answer: it takes a minute by itself", { cause: error });
  }
  console.log(`${user}: read anew at the next request of every instance`);
  // Of a user whose membership was deleted there is none: what was to be done is done.
  if (!(await isKnown(user))) console.error(`No membership of ${user} is stored: is the id right?`);
});

/** Where Mongo does not tell, a user counts as known. */
async function isKnown(user: string): Promise<boolean> {
  const { ObjectId } = await driver();
  if (!/^[0-9a-f]{24}$/i.test(user)) return false;
  const find = async () =>
    (await central()).collection("usersubaccounts").findOne({ userId: new ObjectId(user) }, { projection: { _id: 1 } });
  return bounded(find()).then(Boolean, () => true);
}
