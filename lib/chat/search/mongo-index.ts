import type { AnyBulkWriteOperation } from "mongodb";
import { runIn, type TenantContext } from "../../access/tenant.ts";
import { findInWords } from "./find.ts";
import type { IndexedChat, NumberedMessage, SearchIndex } from "./search-index.ts";
import { idsOf, numbered, type Segment, segmentsOf } from "./segment.ts";

/**
 * `SearchIndex` in MongoDB: the collection `chatwords` (docs/search.md). In a collection of their own, words cost a send
 * the same however long its chat is.
 */

/**
 * Only the primary is waited for: a failover may lose what the next rebuild mends. So this ends before the write that it
 * stands beside, which waits for a majority; at the latest after a second at the server, or when `bounded` gives up.
 */
const derived = { ordered: false, writeConcern: { w: 1 }, maxTimeMS: 1_000 } as const;

/** Of one command. */
const maxWrites = 100;

export const add: SearchIndex["add"] = (tenant, chat, messages) => write(tenant, added(tenant, chat, messages));

/**
 * Of an ongoing chat nothing is removed, as a send may be adding words. Words of a message that failed stay until the
 * chat is over; it is not found by them, since the texts decide.
 */
export const rebuild: SearchIndex["rebuild"] = (tenant, chats) => {
  const writes = chats.map((chat) => {
    const messages = numbered(chat, chat.messages);
    return chat.chat_status === "ongoing" ? added(tenant, chat, messages) : replaced(tenant, chat, messages);
  });
  return write(tenant, writes.flat());
};

export const remove: SearchIndex["remove"] = async (tenant, chatId) => {
  await run(tenant, (words) => words.deleteMany({ _id: idsOf(tenant, chatId) }));
};

export const find: SearchIndex["find"] = (tenant, search) => run(tenant, (words) => findInWords(words, tenant, search));

const run = <T>(tenant: TenantContext, operation: Parameters<typeof runIn<Segment, T>>[2]) =>
  runIn<Segment, T>(tenant, "chatwords", operation);

async function write(tenant: TenantContext, writes: AnyBulkWriteOperation<Segment>[]): Promise<void> {
  for (let at = 0; at < writes.length; at += maxWrites) {
    await run(tenant, (words) => words.bulkWrite(writes.slice(at, at + maxWrites), derived));
  }
}

function added(
  tenant: TenantContext,
  chat: IndexedChat,
  messages: NumberedMessage[],
): AnyBulkWriteOperation<Segment>[] {
  return segmentsOf(tenant, chat, messages).map(({ _id, words, ...fields }) => {
    const known = { $ifNull: ["$words", []] };
    // Not $addToSet, which writes the whole list into the oplog each time.
    const all = { $concatArrays: [known, { $setDifference: [{ $literal: words }, known] }] };
    return { updateOne: { filter: { _id }, update: [{ $set: { ...fields, words: all } }], upsert: true } };
  });
}

function replaced(
  tenant: TenantContext,
  chat: IndexedChat,
  messages: NumberedMessage[],
): AnyBulkWriteOperation<Segment>[] {
  const segments = segmentsOf(tenant, chat, messages);
  const others = { ...idsOf(tenant, chat.chat_id), $nin: segments.map(({ _id }) => _id) };
  return [
    ...segments.map(({ _id, ...replacement }) => ({ replaceOne: { filter: { _id }, replacement, upsert: true } })),
    { deleteMany: { filter: { _id: others } } },
  ];
}
