/**
 * `npm run doctor [-- --subaccount ID]`: looks at everything that the API needs, and says of what is wrong how to mend
 * it. Changes nothing but a key in Redis that is gone in ten seconds.
 */
import { parseArgs } from "node:util";
import { config } from "../lib/config.ts";
import { central, closeAll } from "../lib/mongo.ts";
import { type Finding, ill, well } from "./doctor/finding.ts";
import { account, retellClock } from "./doctor/retell.ts";
import { database, mongo, subaccounts, upstash } from "./doctor/stores.ts";
import { subaccountIdOf } from "./subaccount.ts";
import { table } from "./table.ts";

const usage = "npm run doctor -- --subaccount ID";

async function examine(subaccountId: string | undefined): Promise<Finding[]> {
  const settings = settled();
  if (!settings.isWell) return [settings]; // everything else needs them
  const findings = [settings, ...(await mongo()), await upstash(), await retellClock()];
  if (findings.some(({ what, isWell }) => what === "MongoDB" && !isWell)) return findings;

  const found = await subaccounts(subaccountId);
  if (subaccountId !== undefined && found.length === 0) {
    findings.push(ill("subaccount", `${subaccountId} does not exist`, "look for it in the collection subaccounts"));
  }
  if (subaccountId === undefined && found.length === 0) {
    const mend = "does MONGODB_URL name the right database? docs/deploying.md says how to make the first one";
    findings.push(ill("subaccounts", `there is none, or none is active, in ${(await central()).databaseName}`, mend));
  }
  for (const subaccount of found) findings.push(await database(subaccount), await account(subaccount.id));
  return findings;
}

function settled(): Finding {
  try {
    return well("settings", `stage ${config().STAGE}`);
  } catch (error) {
    const mend =
      "set them in .env, or as secrets of the stage and deploy: sst shell has the last deployment's; .env.example says what each is";
    return ill("settings", error instanceof Error ? error.message : "unreadable", mend);
  }
}

try {
  const { values } = parseArgs({ options: { subaccount: { type: "string" } } });
  const findings = await examine(
    values.subaccount === undefined ? undefined : subaccountIdOf(values.subaccount, usage),
  );
  console.log(table(findings.map(({ what, isWell, detail }) => [isWell ? "ok" : "WRONG", what, detail])));
  const wrong = findings.filter(({ isWell }) => !isWell);
  if (wrong.length > 0) console.log(`\n${wrong.map(({ what, mend }) => `${what}: ${mend}`).join("\n")}`);
  console.log(`\n${findings.length - wrong.length} ok, ${wrong.length} wrong`);
  process.exitCode = wrong.length > 0 ? 1 : 0;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await closeAll();
}
