import { type Access, subaccountOf } from "../../lib/access.ts";
import { config } from "../../lib/config.ts";
import { isLegacy } from "../../lib/crypto.ts";
import { missingIndexes } from "../../lib/indexes.ts";
import { bounded, central } from "../../lib/mongo.ts";
import { key, redis } from "../../lib/redis.ts";
import { openTenant } from "../../lib/tenant.ts";
import { aLog, clock, type Finding, ill, saying, well } from "./finding.ts";

/** A subaccount that is to be looked at. */
export interface Subaccount {
  id: string;
  location: NonNullable<Access["subaccount"]>;
}

/** The central database: whether it answers, what it is, its clock and indexes. */
export async function mongo(): Promise<Finding[]> {
  try {
    const db = await central();
    await bounded(db.command({ ping: 1 })); // connects
    const asked = Date.now();
    const hello = await bounded(db.command({ hello: 1 }));
    const answered = Date.now();
    const isReplicated = typeof hello.setName === "string" || hello.msg === "isdbgrid";
    return [
      well("MongoDB", `${db.databaseName}, ${answered - asked} ms`),
      isReplicated
        ? well("replica set", hello.setName ?? "sharded")
        : ill("replica set", "a single server", "make it a replica set: rs.initiate(); Atlas always is one"),
      clock("MongoDB", hello.localTime.getTime(), (asked + answered) / 2),
      indexed("central", await missingIndexes(db, "central")),
    ];
  } catch (error) {
    const mend = "MONGODB_URL: is the address right, is this machine on its access list, are user and password?";
    return [ill("MongoDB", saying(error), mend)];
  }
}

/** A subaccount's own database. Several may be the same: it is looked at for each. */
export async function database({ id, location }: Subaccount): Promise<Finding> {
  const what = `database of ${id}`;
  try {
    const tenant = await openTenant(id, location, { log: aLog(), trailing: [] });
    try {
      const db = await tenant.db();
      await bounded(db.command({ ping: 1 }));
      return indexed(id, await missingIndexes(db, "tenant"));
    } finally {
      tenant.release();
    }
  } catch (error) {
    const mend =
      "its mongodbUrl: does ENCRYPTION_KEY or one of ENCRYPTION_KEYS_OLD open it, and does its cluster answer?";
    return ill(what, saying(error), mend);
  }
}

function indexed(of: string, missing: string[]): Finding {
  const what = `indexes of ${of}`;
  return missing.length === 0 ? well(what) : ill(what, `${missing.join(", ")} missing`, "npm run db:indexes");
}

/** The subaccounts to look at: all that are active, or the one that is named. */
export async function subaccounts(id: string | undefined): Promise<Subaccount[]> {
  const found: Subaccount[] = [];
  const projection = { isActive: 1, databaseName: 1, mongodbUrl: 1, encryptionIV: 1 };
  const documents = (await central()).collection("subaccounts").find({}, { projection });
  for await (const document of documents) {
    const location = subaccountOf(document);
    if (id === undefined ? location.isActive : String(document._id) === id)
      found.push({ id: String(document._id), location });
  }
  return found;
}

/** How many secrets are stored in the old server's form, and what LEGACY_KEYS should say of it. */
export async function legacySecrets(): Promise<Finding> {
  const what = "old server's secrets";
  const db = await central();
  const fields = { retellaccounts: ["apiKey", "webhookKeys"], subaccounts: ["mongodbUrl"] };
  let count = 0;
  for (const [collection, names] of Object.entries(fields)) {
    for await (const document of db.collection(collection).find({}, { projection: project(names) })) {
      const texts = names.flatMap((name) => document[name]);
      count += texts.filter((text) => typeof text === "string" && text !== "" && isLegacy(text)).length;
    }
  }
  const refuses = config().LEGACY_KEYS === "refuse";
  if (count === 0) return well(what, refuses ? "none" : "none: set LEGACY_KEYS=refuse, and none is accepted any more");
  if (!refuses) return well(what, `${count}, bound to no subaccount: npm run keys:rotate, once the old server is gone`);
  return ill(what, `${count} are not read`, "LEGACY_KEYS=read until npm run keys:rotate has encrypted them anew");
}

const project = (names: string[]) => Object.fromEntries(names.map((name) => [name, 1]));

/** Above it, a request goes on without Redis. */
const slowMs = 500;

/** Redis: whether it can be written and read, and the median of five round trips. */
export async function upstash(): Promise<Finding> {
  try {
    const name = key("doctor", crypto.randomUUID());
    await redis.set(name, "well", 10);
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const asked = performance.now();
      if ((await redis.get(name)) !== "well") throw new Error("It does not give back what it was given");
      times.push(performance.now() - asked);
    }
    const median = Math.round(times.sort((a, b) => a - b)[2] ?? 0);
    if (median < slowMs / 5) return well("Redis", `${median} ms`);
    return ill("Redis", `${median} ms`, `use a database in the functions' region: above ${slowMs} ms they do without`);
  } catch (error) {
    const mend = "UPSTASH_REDIS_REST_URL and _TOKEN: those of the REST API, and not the read-only token";
    return ill("Redis", refusal(error) ?? saying(error), mend);
  }
}

/** What Redis itself says begins with a word in capitals, as NOPERM; the rest may hold the command. */
function refusal(error: unknown): string | undefined {
  return /^[A-Z]{3,20}(?= )/.exec(error instanceof Error ? error.message : "")?.[0];
}
