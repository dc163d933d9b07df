import type { TenantContext } from "../../access/tenant.ts";
import { add } from "./mongo-index.ts";
import type { IndexedChat, NumberedMessage } from "./search-index.ts";

/**
 * Indexes messages beside the write that stores them, so that it costs no trip of its own. It never fails that write.
 * What it could not do, the sweep does (sweep/words.ts).
 *
 * @returns What the write returns. By then, nothing runs on.
 */
export async function withWords<T>(
  write: Promise<T>,
  tenant: TenantContext,
  chat: IndexedChat,
  messages: NumberedMessage[],
): Promise<T> {
  const indexed = add(tenant, chat, messages).catch((error) => {
    tenant.log.warn("Messages could not be indexed for the search now; the sweep does it", error);
  });
  try {
    return await write;
  } finally {
    await indexed;
  }
}
