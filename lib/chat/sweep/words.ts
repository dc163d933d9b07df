import type { ObjectId } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import type { ChatSnapshot } from "../model.ts";
import { rebuild } from "../search/mongo-index.ts";
import * as schedule from "../store/schedule.ts";
import { failedReadWaitMs } from "../timing.ts";

/**
 * Ends the sweep of a chat: indexes it anew for the search if it has changed since that was done last, and sets when it
 * is due again. A crash or a failure may have left out words, and a failed message may have added some.
 */
export async function indexAndReschedule(
  tenant: TenantContext,
  id: ObjectId,
  chat: ChatSnapshot,
  { sweepAt, ...swept }: Omit<schedule.Swept, "wordsRevision">,
): Promise<void> {
  const { revision, wordsRevision } = chat.internal ?? {};
  const isIndexed =
    revision === wordsRevision ||
    (await rebuild(tenant, [chat]).then(
      () => true,
      (error) => {
        tenant.log.warn("A chat could not be indexed for the search now", error, { chatId: chat.chat_id });
        return false;
      },
    ));
  const again = new Date(Date.now() + failedReadWaitMs);
  const next = isIndexed || (sweepAt && sweepAt < again) ? sweepAt : again;
  const known = isIndexed ? revision : wordsRevision;
  await schedule.reschedule(tenant, id, { ...swept, sweepAt: next, wordsRevision: known }, chat);
}
