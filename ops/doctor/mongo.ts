import type { Db, Document } from "mongodb";
import { connectionStringOf } from "../../lib/access/tenant.ts";
import { config } from "../../lib/platform/config.ts";
import { isLegacy } from "../../lib/platform/crypto.ts";
import { missingIndexes } from "../../lib/platform/indexes.ts";
import { bounded, central } from "../../lib/platform/mongo.ts";
import { errorName } from "../failure.ts";
import { type Subaccount, withTenant } from "../tenants.ts";
import { clock, type Finding, ok, wrong } from "./finding.ts";
import { fixFor } from "./mongo-fix.ts";

/** The central database: whether it answers, its replica set, clock and indexes, and whether it takes writes. */
export async function mongo(): Promise<Finding[]> {
  try {
    const db = await central();
    await bounded(db.command({ ping: 1 })); // connects
    const asked = Date.now();
    const hello = await bounded(db.command({ hello: 1 }));
    const answered = Date.now();
    return [
      ok("MongoDB", `${db.databaseName}, ${answered - asked} ms`),
      replicated("replica set", hello),
      clock("MongoDB", hello.localTime.getTime(), (asked + answered) / 2),
      indexed("central", await missingIndexes(db, "central")),
      await writable("central", "MONGODB_URL", db, config().MONGODB_URL),
    ];
  } catch (error) {
    return [wrong("MongoDB", errorName(error), fixFor(error, "MONGODB_URL"))];
  }
}

/** A subaccount's own database. One that several share is checked for each. */
export async function database(subaccount: Subaccount): Promise<Finding[]> {
  const { id, location } = subaccount;
  const what = `database of ${id}`;
  const { unreadable } = location;
  if (unreadable) return [wrong(what, `its ${unreadable} is not text`, "until it is, requests get CONNECTION_FAILED")];
  let url: string;
  try {
    url = await connectionStringOf(id, location);
  } catch (error) {
    const fix = "its mongodbUrl: ENCRYPTION_KEY or one of ENCRYPTION_KEYS_OLD must decrypt it";
    return [wrong(what, errorName(error), fix)];
  }
  const setting = location.mongodbUrl ? "its mongodbUrl" : "MONGODB_URL";
  try {
    return await withTenant(subaccount, "doctor", async (tenant) => {
      const db = await tenant.db();
      const hello = await bounded(db.command({ hello: 1 }));
      return [
        ...(location.mongodbUrl ? [replicated(`replica set of ${id}`, hello)] : []),
        indexed(id, await missingIndexes(db, "tenant")),
        await writable(id, setting, db, url),
      ];
    });
  } catch (error) {
    return [wrong(what, errorName(error), fixFor(error, setting))];
  }
}

/** The members of a replica set. Without a majority of them it takes no writes, and so no sends. */
function replicated(what: string, hello: Document): Finding {
  if (hello.msg === "isdbgrid") return ok(what, "sharded");
  if (typeof hello.setName !== "string") {
    return wrong(what, "a single server", "make it a replica set: rs.initiate(); Atlas always is one");
  }
  const [withData, arbiters] = [hello.hosts?.length ?? 0, hello.arbiters?.length ?? 0];
  const members = `${hello.setName}, ${withData} with data`;
  if (arbiters === 0) return ok(what, members);
  return ok(
    what,
    `${members}, ${arbiters} arbiter: an arbiter keeps no data, so sends stop when one of the others does`,
  );
}

/** Options of a connection string that the API overrides. */
const overridden = /[?&](w|wtimeoutMS|wtimeout|journal|j|readConcernLevel|readPreference|maxStalenessSeconds)=/gi;

/** Whether a majority of the set takes a write of the kind that every send makes. The write matches no document. */
async function writable(of: string, setting: string, db: Db, url: string): Promise<Finding> {
  const what = `writes of ${of}`;
  const ignored = Array.from(url.matchAll(overridden), ([, name]) => name);
  try {
    await bounded(db.collection("chats").updateOne({ subaccountId: "-", chat_id: "-" }, { $set: { doctor: true } }));
    return ok(what, `by a majority${ignored.length > 0 ? `; ${ignored.join(", ")} of ${setting} not used` : ""}`);
  } catch (error) {
    return wrong(what, errorName(error), fixFor(error, setting));
  }
}

function indexed(of: string, missing: string[]): Finding {
  const what = `indexes of ${of}`;
  return missing.length === 0 ? ok(what) : wrong(what, `${missing.join(", ")} missing`, "npm run ops -- indexes");
}

/** How many secrets are stored in the old server's form, and what LEGACY_KEYS should therefore be. */
export async function legacySecrets(): Promise<Finding> {
  const what = "old server's secrets";
  const db = await central();
  const fields = { retellaccounts: ["apiKey", "webhookKeys"], subaccounts: ["mongodbUrl"] };
  let count = 0;
  for (const [collection, names] of Object.entries(fields)) {
    const projection = Object.fromEntries(names.map((name) => [name, 1]));
    for await (const document of db.collection(collection).find({}, { projection })) {
      const texts = names.flatMap((name) => document[name]);
      count += texts.filter((text) => typeof text === "string" && text !== "" && isLegacy(text)).length;
    }
  }
  const isRefused = config().LEGACY_KEYS === "refuse";
  const rotate = "npm run ops -- keys rotate";
  if (count === 0)
    return ok(what, isRefused ? "none" : "none: set LEGACY_KEYS=refuse, so that none is accepted any more");
  if (!isRefused) return ok(what, `${count}, bound to no subaccount: ${rotate}, once the old server is gone`);
  return wrong(what, `${count} are not read`, `LEGACY_KEYS=read until ${rotate} has encrypted them again`);
}
