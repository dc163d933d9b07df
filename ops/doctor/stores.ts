import type { Db, Document } from "mongodb";
import { type Access, subaccountOf } from "../../lib/access/membership.ts";
import { connectionStringOf, openTenant } from "../../lib/access/tenant.ts";
import { config } from "../../lib/platform/config.ts";
import { isLegacy } from "../../lib/platform/crypto.ts";
import { missingIndexes } from "../../lib/platform/indexes.ts";
import { bounded, central } from "../../lib/platform/mongo.ts";
import { key, redis } from "../../lib/platform/redis.ts";
import { aLog, clock, type Finding, ill, saying, well } from "./finding.ts";

/** A subaccount that is to be looked at. */
export interface Subaccount {
  id: string;
  location: NonNullable<Access["subaccount"]>;
}

/** The central database: whether it answers, what it is, its clock and indexes, and whether it keeps what is written. */
export async function mongo(): Promise<Finding[]> {
  try {
    const db = await central();
    await bounded(db.command({ ping: 1 })); // connects
    const asked = Date.now();
    const hello = await bounded(db.command({ hello: 1 }));
    const answered = Date.now();
    return [
      well("MongoDB", `${db.databaseName}, ${answered - asked} ms`),
      replicated("replica set", hello),
      clock("MongoDB", hello.localTime.getTime(), (asked + answered) / 2),
      indexed("central", await missingIndexes(db, "central")),
      await writable("central", "MONGODB_URL", db, config().MONGODB_URL),
    ];
  } catch (error) {
    return [ill("MongoDB", saying(error), mendOf(error, "MONGODB_URL"))];
  }
}

/** A subaccount's own database. Several may be the same: it is looked at for each. */
export async function database({ id, location }: Subaccount): Promise<Finding[]> {
  const what = `database of ${id}`;
  const { unreadable } = location;
  if (unreadable) return [ill(what, `its ${unreadable} is not text`, "until it is, requests get CONNECTION_FAILED")];
  let url: string;
  try {
    url = await connectionStringOf(id, location);
  } catch (error) {
    return [ill(what, saying(error), "its mongodbUrl: ENCRYPTION_KEY or one of ENCRYPTION_KEYS_OLD must open it")];
  }
  const setting = location.mongodbUrl ? "its mongodbUrl" : "MONGODB_URL";
  try {
    const tenant = await openTenant(id, location, { log: aLog(), trailing: [] });
    try {
      const db = await tenant.db();
      const hello = await bounded(db.command({ hello: 1 }));
      return [
        ...(location.mongodbUrl ? [replicated(`replica set of ${id}`, hello)] : []),
        indexed(id, await missingIndexes(db, "tenant")),
        await writable(id, setting, db, url),
      ];
    } finally {
      tenant.release();
    }
  } catch (error) {
    return [ill(what, saying(error), mendOf(error, setting))];
  }
}

/** What a set is made of. Without a majority of its members it takes no writes, and so no sends. */
function replicated(what: string, hello: Document): Finding {
  if (hello.msg === "isdbgrid") return well(what, "sharded");
  if (typeof hello.setName !== "string") {
    return ill(what, "a single server", "make it a replica set: rs.initiate(); Atlas always is one");
  }
  const [withData, arbiters] = [hello.hosts?.length ?? 0, hello.arbiters?.length ?? 0];
  const members = `${hello.setName}, ${withData} with data`;
  if (arbiters === 0) return well(what, members);
  return well(
    what,
    `${members}, ${arbiters} arbiter: an arbiter keeps no data, so sends stop when one of the others does`,
  );
}

/** Settings of a connection string that have no effect. */
const overridden = /[?&](w|wtimeoutMS|wtimeout|journal|j|readConcernLevel|readPreference|maxStalenessSeconds)=/gi;

/** Whether a majority of the set takes a write, of the kind that every send makes. It changes nothing. */
async function writable(of: string, setting: string, db: Db, url: string): Promise<Finding> {
  const what = `writes of ${of}`;
  const ignored = Array.from(url.matchAll(overridden), ([, name]) => name);
  try {
    await bounded(db.collection("chats").updateOne({ subaccountId: "-", chat_id: "-" }, { $set: { doctor: true } }));
    return well(what, `by a majority${ignored.length > 0 ? `; ${ignored.join(", ")} of ${setting} not used` : ""}`);
  } catch (error) {
    return ill(what, saying(error), mendOf(error, setting));
  }
}

/** Which part of a connection string an error of MongoDB is about, and what to do about it. */
function mendOf(error: unknown, setting: string): string {
  const { names, codes, dependency } = chainOf(error);
  const has = (...some: unknown[]) => some.some((code) => codes.has(code));
  if (dependency)
    return `${setting}: its compressors or its authMechanism need ${dependency}, which is not part of this API`;
  if (has(18, 11)) return `${setting}: user and password, and authSource; a password must be percent-encoded`;
  if (has(8000))
    return `${setting}: Atlas refuses it: user and password, or the cluster is paused or at a limit of its plan`;
  if (has(73)) return `${setting}, or the subaccount's databaseName: no database may have this name`;
  if (has(334)) return `${setting}: its authMechanism is none that the server takes`;
  if (has(13, 31)) return `${setting}: its user may not read and write this database: give it the role readWrite`;
  if (has(148)) return "enableMajorityReadConcern: false is set on its servers: remove it";
  if (names.has("MongoWriteConcernError"))
    return "too few members that hold data are running: until a majority has copied a write, every send is refused";
  if (names.has("MongoParseError") || names.has("MongoInvalidArgumentError"))
    return `${setting}: not a valid connection string or databaseName: look at its options, and percent-encode user and password`;
  if (names.has("MongoCompatibilityError"))
    return `${setting}: the server is too old, or loadBalanced or directConnection do not fit it`;
  if (has("ENOTFOUND", "ENODATA", "ESERVFAIL")) return `${setting}: there is no such host`;
  if (has("ENOENT", "EACCES")) return `${setting}: it names a file that is not here (tlsCAFile, tlsCertificateKeyFile)`;
  return `${setting}: is the address right (replicaSet and tls, too), is this machine on its access list, is the server running?`;
}

/** The names and codes of an error and its causes, and the package that is missing, if one is. */
function chainOf(error: unknown) {
  const [names, codes] = [new Set<string>(), new Set<unknown>()];
  let dependency: string | undefined;
  for (let one = error; one instanceof Error; one = one.cause) {
    names.add(one.name);
    if ("code" in one) codes.add(one.code);
    if ("dependencyName" in one) dependency ??= String(one.dependencyName);
  }
  return { names, codes, dependency };
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
