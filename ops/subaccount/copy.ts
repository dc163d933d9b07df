import { BSON, type Db, type Document } from "mongodb";

/** What a pass over all documents of a subaccount has found and done. */
export interface Pass {
  documents: number;
  /** Documents that the copy lacked, or had otherwise. They were written. */
  written: number;
  /** Documents of the copy that the original does not have. They were deleted. */
  deleted: number;
}

/** Of one query for the copy's documents: a chat may have 12 MB. */
const groupBytes = 8 * 1024 * 1024;
const groupSize = 200;

/** Numbers keep their BSON types, so that a copy has the same bytes. */
const exact = { promoteValues: false, bsonRegExp: true } as const;

/** What a move copies of a subaccount: both databases may have documents of others. */
const copied = ["chats", "chatagents", "chatrequests", "chatwords", "jobs"];

/** Other collections of a database, which a move does not copy. */
export async function otherCollections(db: Db): Promise<string[]> {
  const ours = [...copied, "chatsdatabase"];
  const found = await db.listCollections({}, { nameOnly: true }).toArray();
  return found.map(({ name }) => name).filter((name) => !ours.includes(name) && !name.startsWith("system."));
}

/** How many documents of a subaccount a database has. */
export const countChats = (db: Db, subaccountId: string) => db.collection("chats").countDocuments({ subaccountId });

/**
 * Makes the copy like the original, and compares every document's bytes. Once the original is fenced, a pass that writes
 * and deletes nothing proves that both are the same.
 */
export async function copyPass(from: Db, to: Db, subaccountId: string): Promise<Pass> {
  const pass: Pass = { documents: 0, written: 0, deleted: 0 };
  for (const collection of copied) {
    let group: Document[] = [];
    let bytes = 0;
    const flush = async () => {
      pass.written += await writeDifferent(to, collection, group);
      group = [];
      bytes = 0;
    };
    for await (const document of from
      .collection(collection)
      .find({ subaccountId }, { ...exact, batchSize: groupSize })) {
      pass.documents += 1;
      group.push(document);
      bytes += BSON.calculateObjectSize(document);
      if (group.length >= groupSize || bytes >= groupBytes) await flush();
    }
    await flush();
    pass.deleted += await deleteOthers(from, to, collection, subaccountId);
  }
  return pass;
}

async function writeDifferent(to: Db, collection: string, group: Document[]): Promise<number> {
  if (group.length === 0) return 0;
  const copies = to.collection(collection).find({ _id: { $in: group.map(({ _id }) => _id) } }, exact);
  const bytesOf = new Map<string, Buffer>();
  for await (const copy of copies) bytesOf.set(String(copy._id), Buffer.from(BSON.serialize(copy)));
  const different = group.filter((one) => !bytesOf.get(String(one._id))?.equals(BSON.serialize(one)));
  if (different.length === 0) return 0;
  const writes = different.map((one) => ({
    replaceOne: { filter: { _id: one._id }, replacement: one, upsert: true },
  }));
  await to.collection(collection).bulkWrite(writes, { ordered: false });
  return different.length;
}

async function deleteOthers(from: Db, to: Db, collection: string, subaccountId: string): Promise<number> {
  let deleted = 0;
  let ids: unknown[] = [];
  const flush = async () => {
    const known = await from
      .collection(collection)
      .find({ _id: { $in: ids } } as Document, { projection: { _id: 1 } })
      .toArray();
    const there = new Set(known.map(({ _id }) => String(_id)));
    const gone = ids.filter((id) => !there.has(String(id)));
    ids = [];
    if (gone.length === 0) return;
    const { deletedCount } = await to
      .collection(collection)
      .deleteMany({ subaccountId, _id: { $in: gone } } as Document);
    deleted += deletedCount;
  };
  for await (const { _id } of to.collection(collection).find({ subaccountId }, { projection: { _id: 1 } })) {
    ids.push(_id);
    if (ids.length >= 1_000) await flush();
  }
  if (ids.length > 0) await flush();
  return deleted;
}
