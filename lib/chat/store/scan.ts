import type { Document } from "mongodb";
import { runIn, type TenantContext } from "../../access/tenant.ts";
import { type Position, positionAfter } from "../cursor.ts";
import type { ChatSnapshot, StoredChat } from "../model.ts";
import { withReadableMessages } from "../readable.ts";
import { beyond } from "./chats.ts";
import { hinted, run } from "./collection.ts";

/** Chats that are looked at by one query: few of them may match, and each query must end in time. */
const windowSize = 2_000;
/** Chats that MongoDB sends at a time, and never more than 16 MB of them. */
const batchSize = 200;

const newestFirst = { start_timestamp: -1, chat_id: -1 } as const;

/** Chats that began before a time (epoch ms). An imported chat whose time is of another type is among them. */
const begunBefore = (ms: number) => ({ start_timestamp: { $not: { $gte: ms } } });

/** Which chats are read: a filter as `matchOf` gives it, and a time (epoch ms, exclusive) before which they began. */
export interface Scope {
  index: Document;
  indexed: Document;
  all: Document;
  before: number;
}

/**
 * Whole chats newest first, from a position on (exclusive), in batches that fit into memory.
 *
 * @throws CONNECTION_FAILED when the tenant's database does not answer in time
 */
export async function* scan(
  tenant: TenantContext,
  scope: Scope,
  after: Position | undefined,
): AsyncGenerator<ChatSnapshot[]> {
  let from = after;
  for (;;) {
    const last = await lastOf(tenant, scope, await restOf(scope, from));
    const next = last && positionAfter([last], from);
    // A window ends at a chat, not after a number: chats begin and stop to match between its two queries.
    const isNamed = next !== undefined && next.skip === undefined;
    yield* matching(tenant, scope, await restOf(scope, from, isNamed ? next : undefined), isNamed || !last);
    if (!next) return;
    // No cursor can name that chat, which has keys of an odd type.
    from = isNamed ? next : { ...next, skip: (from?.skip ?? 0) + windowSize };
  }
}

/** What the index finds from a position on, to the chat of another position (inclusive). */
async function restOf({ indexed, before }: Scope, after: Position | undefined, to?: Position) {
  const end = to ? [(await beyond(to, 1)).from, { $nor: (await beyond(to, -1)).past }] : [];
  const found = { $and: [indexed, begunBefore(before), ...end] };
  const match = after ? { $or: (await beyond(after, -1)).past.map((range) => ({ ...found, ...range })) } : found;
  return { match, skip: after?.skip ?? 0 };
}

type Rest = Awaited<ReturnType<typeof restOf>>;

/** The last chat of a window; undefined when it has all that are left. */
async function lastOf(tenant: TenantContext, { index }: Scope, { match, skip }: Rest) {
  const projection = { _id: 0, start_timestamp: 1, chat_id: 1 };
  const window = { projection, sort: newestFirst, skip: skip + windowSize - 1, limit: 1 };
  const [last] = await run(tenant, (chats) =>
    hinted(index, (hint) => chats.find(match, { ...window, ...hint }).toArray()),
  );
  return last;
}

async function* matching(tenant: TenantContext, { index, all }: Scope, { match, skip }: Rest, isBounded: boolean) {
  const pipeline = [
    { $match: match },
    { $sort: newestFirst },
    ...(skip > 0 ? [{ $skip: skip }] : []),
    ...(isBounded ? [] : [{ $limit: windowSize }]),
    { $match: all },
    { $unset: "_id" },
  ];
  const chats = (await tenant.db()).collection<StoredChat>("chats");
  const cursor = await hinted(index, async (hint) => {
    const opened = chats.aggregate<StoredChat>(pipeline, { batchSize, ...hint });
    await runIn(tenant, "chats", () => opened.hasNext());
    return opened;
  });
  try {
    while (await runIn(tenant, "chats", () => cursor.hasNext())) {
      const now = new Date();
      yield cursor.readBufferedDocuments().map((chat): ChatSnapshot => ({ ...withReadableMessages(chat), now }));
    }
  } finally {
    await cursor.close();
  }
}

/** How many chats `scan` finds; null when they cannot be counted in two seconds. */
export function count(tenant: TenantContext, { index, indexed, all, before }: Scope): Promise<number | null> {
  const match = { $and: [indexed, begunBefore(before), all] };
  const counted = run(tenant, (chats) =>
    hinted(index, (hint) => chats.countDocuments(match, { maxTimeMS: 2_000, ...hint })),
  );
  return counted.catch(() => null); // it is only shown
}
