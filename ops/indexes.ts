import type { Db } from "mongodb";
import { ApiError } from "../lib/platform/errors.ts";
import { ensureIndexes, indexes, missingIndexes } from "../lib/platform/indexes.ts";
import { central } from "../lib/platform/mongo.ts";
import { defineCommand, writeFlags } from "./command.ts";
import { reachable, whyNot } from "./failure.ts";
import { stageTarget } from "./target.ts";
import { allSubaccounts, withTenant } from "./tenants.ts";

type Work = (db: Db, kind: "central" | "tenant") => Promise<{ created: number; all: number }>;

export const command = defineCommand({
  details: "An index that is there stays as it is: the command may be repeated.",
  flags: {
    ...writeFlags,
    "skip-unreachable": { type: "boolean", description: "succeed also if a subaccount's database cannot be reached" },
  },
  target: stageTarget,
  async run({ "dry-run": isDryRun, "skip-unreachable": skipsUnreachable }) {
    const work = isDryRun ? printMissing : create;
    const counts = [await work(await reachable(central()), "central")];
    const seen = new Set<string>();
    let failed = 0;
    let skipped = 0;
    for (const subaccount of await allSubaccounts()) {
      const { id, location } = subaccount;
      try {
        await withTenant(subaccount, "indexes", async (tenant) => {
          const db = await reachable(tenant.db());
          const place = `${location.mongodbUrl?.text ?? ""} ${db.databaseName}`;
          if (!seen.has(place)) counts.push(await work(db, "tenant")); // subaccounts may share a database
          seen.add(place);
        });
      } catch (error) {
        const isSkipped = skipsUnreachable && error instanceof ApiError && error.code === "CONNECTION_FAILED";
        if (isSkipped) skipped += 1;
        else failed += 1;
        console.error(`subaccount ${id}: ${whyNot(error)}`);
      }
    }
    const sum = (name: "created" | "all") => counts.reduce((total, count) => total + count[name], 0);
    console.log(
      `${sum("created")} ${isDryRun ? "missing" : "created"}, ${sum("all")} in all, ${failed} databases failed${skipped > 0 ? `, ${skipped} not reached` : ""}`,
    );
    return failed === 0;
  },
});

const create: Work = async (db, kind) => {
  const done = await ensureIndexes(db, kind);
  for (const { database, collection, name, created } of done) {
    console.log(`${created ? "created" : "there   "}  ${database}.${collection}  ${name}`);
  }
  return { created: done.filter(({ created }) => created).length, all: done.length };
};

const printMissing: Work = async (db, kind) => {
  const missing = await missingIndexes(db, kind);
  for (const name of missing) console.log(`missing   ${db.databaseName}.${name}`);
  return { created: missing.length, all: indexes[kind].length };
};
