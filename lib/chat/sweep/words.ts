import type { ObjectId } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import type { ChatSnapshot } from "../model.ts";
import { rebuild } from "../search/mongo-index.ts";
import * as schedule from "../store/schedule.ts";

/**
 * Ends the sweep of a chat: indexes it anew for the search if it has changed since that was done last, and sets when it
 * is due again. A crash or a failure may have left out words, and a failed message may have added some.
 */
export async function indexAndReschedule(
  tenant: TenantContext,
  id: ObjectId,
  chat: ChatSnapshot,
  { sweepAt, refusedSince }: Pick<schedule.Swept, "sweepAt" | "refusedSince">,
): Promise<void> {
  const { revision, wordsRevision } = chat.internal ?? {};
  if (revision !== wordsRevision) await rebuild(tenant, [chat]);
  await schedule.reschedule(tenant, id, { sweepAt, refusedSince, wordsRevision: revision }, chat);
}
