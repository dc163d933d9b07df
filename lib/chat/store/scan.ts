import { runIn, type TenantContext } from "../../access/tenant.ts";
import type { Position } from "../cursor.ts";
import type { ChatSnapshot, StoredChat } from "../model.ts";
import { withReadableMessages } from "../readable.ts";
import { beyond } from "./chats.ts";
import { ofTenant } from "./collection.ts";

/** Chats that MongoDB sends at a time, and never more than 16 MB of them. */
const batchSize = 200;

/** Chats that began before a time (epoch ms). An imported chat whose time is of another type is among them. */
const begunBefore = (ms: number) => ({ start_timestamp: { $not: { $gte: ms } } });

export interface Scope {
  /** More conditions on the chats. */
  match: object;
  /** Epoch ms, exclusive. */
  before: number;
}

const chatsIn = (tenant: TenantContext, { match, before }: Scope) => ({
  ...ofTenant(tenant),
  $and: [match, begunBefore(before)],
});

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
  const all = chatsIn(tenant, scope);
  const filter = after ? { $or: (await beyond(after, -1)).past.map((range) => ({ ...all, ...range })) } : all;
  const chats = (await tenant.db()).collection<StoredChat>("chats");
  const sorted = chats.find(filter, { projection: { _id: 0 }, batchSize }).sort({ start_timestamp: -1, chat_id: -1 });
  const cursor = sorted.skip(after?.skip ?? 0);
  try {
    while (await runIn(tenant, "chats", () => cursor.hasNext())) {
      const now = new Date();
      yield cursor.readBufferedDocuments().map((chat) => ({ ...withReadableMessages(chat), now }));
    }
  } finally {
    await cursor.close();
  }
}

/** How many chats `scan` finds; null when they cannot be counted in two seconds. */
export function count(tenant: TenantContext, scope: Scope): Promise<number | null> {
  const counted = runIn(tenant, "chats", (chats) => chats.countDocuments(chatsIn(tenant, scope), { maxTimeMS: 2_000 }));
  return counted.catch(() => null); // it is only shown
}
