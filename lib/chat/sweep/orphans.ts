import type { TenantContext } from "../../access/tenant.ts";
import { bounded, central } from "../../platform/mongo.ts";
import { webhookKeysIn } from "../../retell/account.ts";
import type { RetellClient } from "../../retell/client.ts";
import type { RetellError } from "../../retell/errors.ts";
import * as chats from "../store/chats.ts";
import { markDatabase } from "../store/database-id.ts";
import * as tombstones from "../store/tombstones.ts";
import {
  claimMs,
  movedDatabaseMs,
  orphanMaxAgeMs,
  orphanMinAgeMs,
  orphanOverlapMs,
  orphanSearchEveryMs,
} from "../timing.ts";
import { activeRetell, callSignal, countFailing, type SweepRun, withTenant } from "./run.ts";
import { type Subaccount, sweepNotes } from "./subaccounts.ts";
import { endGivenUp } from "./tombstones.ts";

/** In which database a subaccount's chats were at the last search for orphans. Kept as long as the subaccount. */
interface DatabaseNote {
  /** `database of ` and the subaccount's id. */
  _id: string;
  /** Absent until the first search. */
  database?: string;
  /** The mark that was left in that database. If it has an older one now, it was restored. */
  markedAt?: Date;
  /** The database was another one before, or was restored: chats that started before this time may be stored elsewhere. */
  judgesFrom?: Date;
}

const databaseNotes = async () => (await central()).collection<DatabaseNote>("chatsweeps");
const noteId = (subaccountId: string) => `database of ${subaccountId}`;

/** From now on no chat of a subaccount that began before a time (epoch ms) is ended as an orphan. */
export async function judgeOnlyFrom({ subaccountId }: TenantContext, from: number): Promise<void> {
  const $max = { judgesFrom: new Date(from) };
  await bounded((await databaseNotes()).updateOne({ _id: noteId(subaccountId) }, { $max }, { upsert: true }));
}

/**
 * Searches a subaccount's account at Retell for orphans, if it is time to.
 *
 * @param stageFrom Epoch ms. Chats that began before are not judged.
 */
export async function searchOrphans(subaccount: Subaccount, run: SweepRun, stageFrom: number): Promise<void> {
  const notes = await sweepNotes();
  const _id = `orphans ${subaccount.id}`;
  const last = await bounded(notes.findOne({ _id }));
  const now = Date.now();
  if (now - (last?.at.getTime() ?? 0) < orphanSearchEveryMs) {
    if (last?.failing) countFailing(subaccount, run);
    return;
  }
  await bounded(notes.updateOne({ _id }, { $currentDate: { at: true }, $unset: { failing: "" } }, { upsert: true }));
  const from = Math.max((last?.done?.getTime() ?? 0) - orphanOverlapMs, now - orphanMaxAgeMs);
  const failing = await withTenant(subaccount, run, async (tenant) => {
    const judgesFrom = await judgedFrom(tenant);
    const retell = await activeRetell(tenant);
    if (!retell) return; // once the account is active again, its orphans are still to be found
    const startedIn = { from: Math.max(from, judgesFrom, stageFrom), to: now - orphanMinAgeMs };
    const isDone = await endOrphans(tenant, retell, startedIn, run);
    // If this search fails, the next one covers its time too.
    if (isDone) await bounded(notes.updateOne({ _id }, { $set: { done: new Date(now) } }));
    await webhookKeysIn(retell.account, tenant); // throws where one does not decrypt: webhooks would be refused
  });
  if (failing) await bounded(notes.updateOne({ _id }, { $set: { failing } }));
}

/**
 * From when on (epoch ms) chats at Retell can be judged by a subaccount's database. The last run noted which database
 * that was, and left its time there. If it is another one now, or if that time is missing, chats that started before may
 * be stored in the old one, or have been stored in what a restore has replaced, and none of them is ended.
 */
async function judgedFrom(tenant: TenantContext): Promise<number> {
  const { subaccountId, log } = tenant;
  const notes = await databaseNotes();
  const _id = noteId(subaccountId);
  const last = await bounded(notes.findOne({ _id })); // before the mark, which another run may write meanwhile
  const now = new Date();
  const { id, markedBefore } = await markDatabase(tenant, now);
  const isOther = last?.database !== undefined && last.database !== id;
  const isRestored = last?.markedAt !== undefined && !(markedBefore && markedBefore >= last.markedAt);
  const judgesFrom = new Date(isOther || isRestored ? now.getTime() + movedDatabaseMs : (last?.judgesFrom ?? 0));
  const $set = { database: id, ...(isOther || isRestored ? { judgesFrom } : {}) };
  await bounded(notes.updateOne({ _id }, { $set, $max: { markedAt: now } }, { upsert: true }));
  if (now < judgesFrom) {
    log.error(
      "A subaccount's database is another one than before, or was restored: no chat at Retell is ended",
      undefined,
    );
    log.metrics.add("ChangedDatabases");
  }
  return judgesFrom.getTime();
}

/**
 * Ends chats at Retell that a create of ours has left there: nobody has stored them, nobody ends them, and each message
 * costs money. Only chats that carry our reserved key for this subaccount and stage are touched: others share the
 * workspace.
 *
 * @returns Whether the search was completed.
 */
async function endOrphans(
  tenant: TenantContext,
  retell: RetellClient,
  startedIn: { from: number; to: number },
  { bounds, result }: SweepRun,
): Promise<boolean> {
  if (startedIn.from >= startedIn.to) return true;
  const ours = await retell.createdIn(tenant.subaccountId, { ...startedIn, status: "ongoing" }, callSignal());
  const ids = ours.map(({ chatId }) => chatId);
  const stored = await chats.existing(tenant, ids);
  let failure: RetellError | undefined;
  for (const { chatId, operationId } of ours.filter((chat) => !stored.has(chat.chatId))) {
    if (Date.now() > bounds.until) return false;
    const chat = { chat_id: chatId, ...(operationId ? { operationId } : {}) };
    const tombstone = await tombstones.insert(tenant, chat, "orphan", claimMs);
    if (!tombstone || tombstone.endedAt) continue; // a create has stored it meanwhile, or Retell's list lags
    const refusal = await endGivenUp({ tenant, chatId, retell }, tombstone, operationId);
    if (refusal?.isAccountWide) throw refusal;
    // One that cannot be ended does not keep the others from being ended.
    if (refusal) failure = refusal;
    else result.orphansEnded += 1;
  }
  if (failure) throw failure;
  return true;
}
