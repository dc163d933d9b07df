import type { TenantContext } from "../../access/tenant.ts";
import type { ChatSnapshot, ChatStats } from "../model.ts";
import { oneChat, run } from "./collection.ts";

/** Fields that are derived of the rest of a chat. */
export interface Derived {
  "internal.stats"?: ChatStats;
  "internal.tags"?: string[];
  "internal.wordsRevision"?: number;
}

/**
 * Writes fields that were derived of readings, of chats that have not changed since. They are no change of the chat: its
 * revision stays.
 *
 * @returns How many chats have not changed.
 */
export async function storeDerived(
  tenant: TenantContext,
  writes: { seen: ChatSnapshot; missing: Derived }[],
): Promise<number> {
  if (writes.length === 0) return 0;
  const updates = writes.map(({ seen, missing }) => ({
    updateOne: {
      filter: {
        ...oneChat(tenant, seen.chat_id),
        chat_status: seen.chat_status,
        "internal.revision": seen.internal?.revision ?? { $exists: false }, // a chat of the old server
      },
      update: { $set: missing },
    },
  }));
  return (await run(tenant, (chats) => chats.bulkWrite(updates, { ordered: false }))).matchedCount;
}
