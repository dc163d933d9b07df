import { appendFile, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { BSON, type Db, type IndexDescriptionInfo, type MongoClient } from "mongodb";

/**
 * What mongodump writes, and mongorestore --drop reads: a folder for each database, and for each collection its documents
 * in BSON, one after the other, and its indexes in JSON. For tests, as MongoDB's tools are in no package registry.
 *
 * @returns The bytes that were written.
 */
export async function dump(client: MongoClient, databases: string[], folder: string): Promise<number> {
  let bytes = 0;
  for (const name of databases) {
    const db = client.db(name);
    await mkdir(join(folder, name), { recursive: true });
    for (const { name: collection } of await db.listCollections({}, { nameOnly: true }).toArray()) {
      const file = join(folder, name, `${collection}.bson`);
      let group: Uint8Array[] = [];
      await appendFile(file, "");
      for await (const document of db.collection(collection).find({}, { promoteValues: false, bsonRegExp: true })) {
        group.push(BSON.serialize(document));
        if (group.length < 500) continue;
        await appendFile(file, Buffer.concat(group));
        group = [];
      }
      await appendFile(file, Buffer.concat(group));
      bytes += (await readFile(file)).length;
      const indexes = await db.collection(collection).indexes();
      await appendFile(join(folder, name, `${collection}.metadata.json`), JSON.stringify(indexes));
    }
  }
  return bytes;
}

/** Replaces these databases by what a dump has of them. */
export async function restore(client: MongoClient, databases: string[], folder: string): Promise<void> {
  for (const name of databases) {
    const db = client.db(name);
    await db.dropDatabase();
    const files = await readdir(join(folder, name));
    for (const file of files.filter((one) => one.endsWith(".bson"))) {
      await restoreCollection(db, file.replace(/\.bson$/, ""), join(folder, name));
    }
  }
}

async function restoreCollection(db: Db, name: string, folder: string): Promise<void> {
  const bytes = await readFile(join(folder, `${name}.bson`));
  const documents: BSON.Document[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readInt32LE(at)) {
    const one = bytes.subarray(at, at + bytes.readInt32LE(at));
    documents.push(BSON.deserialize(one, { promoteValues: false, bsonRegExp: true }));
  }
  await db.createCollection(name);
  for (let at = 0; at < documents.length; at += 500)
    await db.collection(name).insertMany(documents.slice(at, at + 500));
  const indexes: IndexDescriptionInfo[] = JSON.parse(await readFile(join(folder, `${name}.metadata.json`), "utf8"));
  for (const { key, v: _v, ...options } of indexes.filter((index) => index.name !== "_id_")) {
    await db.collection(name).createIndex(key, options);
  }
}
