import { type Db, MongoClient, ReadConcern } from "mongodb";
import { fixFor } from "../doctor/mongo-fix.ts";
import { errorName } from "../failure.ts";

/** A database that a command has opened for long work: the API's own clients give up after two seconds. */
export interface Place extends AsyncDisposable {
  db: Db;
  /** Host and database, without user and password. */
  name: string;
}

/** What a database may be called: nothing that a shell, a URL or MongoDB reads otherwise. */
export const isDatabaseName = (name: string) => /^[A-Za-z0-9_-]{1,63}$/.test(name);

/**
 * Opens a database of a replica set.
 *
 * @param setting What holds the connection string, for the message.
 * @throws An Error that says what to do, and names no address.
 */
export async function openPlace(url: string, name: string | undefined, setting: string): Promise<Place> {
  let client: MongoClient | undefined;
  try {
    client = new MongoClient(url, { serverSelectionTimeoutMS: 5_000, appName: "scalai-chat-ops" });
    await client.connect();
    const db = client.db(name, {
      writeConcern: { w: "majority", journal: true },
      readConcern: new ReadConcern("majority"),
      readPreference: "primary",
    });
    const hello = await db.command({ hello: 1 });
    if (typeof hello.setName !== "string" && hello.msg !== "isdbgrid") {
      throw new Error(`${setting}: a single server; it must be a replica set`);
    }
    const { srvHost, hosts } = client.options;
    const opened = client;
    return {
      db,
      name: `${srvHost ?? hosts.join(",")}/${db.databaseName}`,
      [Symbol.asyncDispose]: () => opened.close(),
    };
  } catch (error) {
    await client?.close().catch(() => {});
    if (error instanceof Error && error.message.startsWith(setting)) throw error;
    throw new Error(`${errorName(error)}: ${fixFor(error, setting)}`);
  }
}

/** The database's id, as the sweep knows it (lib/chat/store/database-id.ts); undefined if it has none yet. */
export const identityIn = async (db: Db): Promise<string | undefined> =>
  (await identities(db).findOne({ _id: "identity" }))?.id;

/** The same; gives it one where it has none. */
export async function identityOf(db: Db): Promise<string> {
  const $setOnInsert = { id: crypto.randomUUID() };
  await identities(db).updateOne({ _id: "identity" }, { $setOnInsert }, { upsert: true });
  const id = await identityIn(db);
  if (id === undefined) throw new Error("The database did not take its identity");
  return id;
}

const identities = (db: Db) => db.collection<{ _id: string; id: string }>("chatsdatabase");
