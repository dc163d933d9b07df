/**
 * `npm run doctor [-- --subaccount ID]`: looks at everything that the API needs, and says of what is wrong how to mend
 * it. Changes nothing but a key in Redis that is gone in ten seconds.
 */
import { parseArgs } from "node:util";
import { central } from "../lib/platform/mongo.ts";
import { type Finding, ill } from "./doctor/finding.ts";
import { account, retellClock } from "./doctor/retell.ts";
import { settings, tokens } from "./doctor/settings.ts";
import { database, legacySecrets, mongo, subaccounts, upstash } from "./doctor/stores.ts";
import { runTool } from "./run-tool.ts";
import { subaccountIdOf } from "./subaccount.ts";
import { table } from "./table.ts";

const usage = "npm run doctor -- --subaccount ID";

async function examine(subaccountId: string | undefined): Promise<Finding[]> {
  const findings = settings();
  if (!findings[0]?.isWell) return findings; // everything else needs them
  findings.push(...(await tokens()), ...(await mongo()), await upstash(), await retellClock());
  if (findings.some(({ what, isWell }) => what === "MongoDB" && !isWell)) return findings;

  findings.push(await legacySecrets());
  const found = await subaccounts(subaccountId);
  if (found.length === 0) {
    const place = (await central()).databaseName;
    const mend = "does MONGODB_URL name the right database? docs/deploying.md says how to make the first one";
    findings.push(
      subaccountId === undefined
        ? ill("subaccounts", `there is none, or none is active, in ${place}`, mend)
        : ill("subaccount", `${subaccountId} does not exist`, "look for it in the collection subaccounts"),
    );
  }
  for (const subaccount of found) findings.push(...(await database(subaccount)), ...(await account(subaccount.id)));
  return findings;
}

await runTool(async () => {
  const { values } = parseArgs({ options: { subaccount: { type: "string" } } });
  const findings = await examine(
    values.subaccount === undefined ? undefined : subaccountIdOf(values.subaccount, usage),
  );
  console.log(table(findings.map(({ what, isWell, detail }) => [isWell ? "ok" : "WRONG", what, detail])));
  const wrong = findings.filter(({ isWell }) => !isWell);
  if (wrong.length > 0) console.log(`\n${wrong.map(({ what, mend }) => `${what}: ${mend}`).join("\n")}`);
  console.log(`\n${findings.length - wrong.length} ok, ${wrong.length} wrong`);
  process.exitCode = wrong.length > 0 ? 1 : 0;
});
