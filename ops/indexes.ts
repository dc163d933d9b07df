/** `npm run db:indexes`: makes the indexes of the central database and of every subaccount's. Safe to repeat. */
import { parseArgs } from "node:util";
import { subaccountOf } from "../lib/access/membership.ts";
import { openTenant } from "../lib/access/tenant.ts";
import { type EnsuredIndex, ensureIndexes } from "../lib/platform/indexes.ts";
import { RequestLog } from "../lib/platform/logger.ts";
import { central } from "../lib/platform/mongo.ts";
import { reached, runTool, whyNot } from "./run-tool.ts";
import { confirmWrite } from "./target.ts";

await runTool(async () => {
  const { yes } = parseArgs({ options: { yes: { type: "boolean" } } }).values;
  await confirmWrite(yes);
  const done: EnsuredIndex[] = await ensureIndexes(await reached(central()), "central");
  const seen = new Set<string>();
  let failed = 0;

  for await (const subaccount of (await central()).collection("subaccounts").find()) {
    try {
      const location = subaccountOf(subaccount);
      const tenant = await openTenant(String(subaccount._id), location, {
        log: new RequestLog({ operationId: crypto.randomUUID(), requestId: undefined, operation: "db:indexes" }),
        trailing: [],
      });
      // Subaccounts may share a database.
      const db = await reached(tenant.db());
      const place = `${location.mongodbUrl?.text ?? ""} ${db.databaseName}`;
      if (!seen.has(place)) done.push(...(await ensureIndexes(db, "tenant")));
      seen.add(place);
      tenant.release();
    } catch (error) {
      failed += 1;
      console.error(`subaccount ${subaccount._id}: ${whyNot(error)}`);
    }
  }
  for (const { database, collection, name, created } of done) {
    console.log(`${created ? "created" : "there   "}  ${database}.${collection}  ${name}`);
  }
  console.log(
    `${done.filter(({ created }) => created).length} created, ${done.length} in all, ${failed} databases failed`,
  );
  process.exitCode = failed > 0 ? 1 : 0;
});
