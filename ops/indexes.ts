import type { Db } from "mongodb";
import { ApiError } from "../lib/platform/errors.ts";
import { ensureIndexes, indexes, missingIndexes, otherIndexes } from "../lib/platform/indexes.ts";
import { central } from "../lib/platform/mongo.ts";
import { defineCommand, writeFlags } from "./command.ts";
import { reachable, whyNot } from "./failure.ts";
import { stageTarget } from "./target.ts";
import { allSubaccounts, withTenant } from "./tenants.ts";

type Work = (db: Db, kind: "central" | "tenant") => Promise<{ created: number; all: number }>;

export const command = defineCommand({
  details:
    "One after the other, while requests go on; it says how long each took. An index that is there stays as it is: the command may be repeated. One that this version does not need is told as `other`, and not dropped: an earlier version, the old server or somebody else may need it. Drop it by hand (`db.chats.dropIndex(name)`) when nobody does, since each costs memory and time with every write.",
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
  for (const { database, collection, name, created, ms } of done) {
    const took = created ? `  in ${(ms / 1_000).toFixed(1)} s` : "";
    console.log(`${created ? "created" : "there  "}   ${database}.${collection}.${name}${took}`);
  }
  await printOthers(db, kind);
  return { created: done.filter(({ created }) => created).length, all: done.length };
};

const printMissing: Work = async (db, kind) => {
  const missing = await missingIndexes(db, kind);
  for (const name of missing) console.log(`missing   ${db.databaseName}.${name}`);
  await printOthers(db, kind);
  return { created: missing.length, all: indexes[kind].length };
};

async function printOthers(db: Db, kind: "central" | "tenant"): Promise<void> {
  for (const name of await otherIndexes(db, kind)) console.log(`other     ${db.databaseName}.${name}`);
}
