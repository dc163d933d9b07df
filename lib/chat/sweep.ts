import type { ObjectId } from "mongodb";
import { subaccountOf } from "../access/membership.ts";
import { openTenant, type TenantContext } from "../access/tenant.ts";
import { ApiError } from "../platform/errors.ts";
import { RequestLog } from "../platform/logger.ts";
import { bounded, central, driver } from "../platform/mongo.ts";
import { asFailure, type RetellClient, RetellError, retellFor } from "../retell/client.ts";
import type { ChatContext } from "./context.ts";
import { databaseId } from "./database.ts";
import { endAgain, isEndDue } from "./end.ts";
import { isComplete, type ReadChat, type Tombstone, type Turn } from "./model.ts";
import { leaseMs, type Settled, settle } from "./settle.ts";
import * as chats from "./store/chats.ts";
import type { DueChat } from "./store/schedule.ts";
import * as schedule from "./store/schedule.ts";
import * as tombstones from "./store/tombstones.ts";

/** What one run does at most. */
export interface Bounds {
  /** Epoch ms after which nothing new is begun. What has begun may take 25 s more. */
  until: number;
  /** Chats of one subaccount. */
  perSubaccount: number;
}

/** What one run has done. */
export interface Swept {
  /** Whose due chats were asked for. */
  subaccounts: number;
  /** Chats that agree with what Retell told of them now. */
  settled: number;
  /** Chats at Retell that came of a create of ours and that we have not. */
  orphansEnded: number;
  failed: number;
  /** Age of the oldest turn that is open yet; 0 when none is. */
  oldestOpenSeconds: number;
}

interface Subaccount {
  id: string;
  location: Parameters<typeof openTenant>[1];
}

interface Run {
  bounds: Bounds;
  log: RequestLog;
  swept: Swept;
  /** Subaccounts in trouble: they are left alone until the next run. */
  left: Set<string>;
}

const minute = 60_000;
const hour = 60 * minute;
const week = 7 * 24 * hour;
/**
 * For how long a call to Retell is waited for. It counts from its beginning, whatever is left until `until`: a call that
 * is given milliseconds fails, and counts against an account that may be well.
 */
const callMs = 20_000;
/** A claimed chat comes back after this, should its sweep die. */
const claimMs = 2 * minute;
/** How often a subaccount's Retell account is looked through for orphans, and from which age on a chat may be one. */
const orphansEveryMs = 10 * minute;
const orphanMs = 10 * minute;
/** How far back orphans are looked for: a chat that is closed for its silence needs no end of ours. */
const orphansUntilMs = 73 * hour;
/** For how long a tombstone stays: no create comes back for its chat after that. */
const goneMs = 72 * hour;
/** Instances may create chats in a database that a subaccount has left for so long. */
const movingMs = hour;
/** Of how many of a subaccount's chats one must be readable before another is taken for gone. */
const witnesses = 5;
/** Subaccounts that are read at a time. */
const pageSize = 100;

/**
 * Looks at chats that are due: settles turns that nobody came back for, notices chats that ended at Retell, fetches
 * analysis and cost that came late. Then ends orphans. Any number of sweeps may run at once: each chat is claimed.
 *
 * Subaccounts are taken in turn, from run to run; an account that answers 429, or not at all five times in a row, is
 * left alone until the next run.
 */
export async function sweep(bounds: Bounds, log: RequestLog): Promise<Swept> {
  const swept: Swept = { subaccounts: 0, settled: 0, orphansEnded: 0, failed: 0, oldestOpenSeconds: 0 };
  // Settling comes first; however much of it there is, a quarter of the time is for orphans.
  const until = bounds.until - Math.max(0, bounds.until - Date.now()) / 4;
  const run: Run = { bounds: { ...bounds, until }, log, swept, left: new Set() };
  for await (const subaccount of inTurn("due chats", until)) {
    swept.subaccounts += 1;
    await inTenant(subaccount, run, (tenant) => settleDue(tenant, run));
  }
  for await (const subaccount of inTurn("orphans", bounds.until)) {
    if (!run.left.has(subaccount.id)) await lookForOrphans(subaccount, { ...run, bounds });
  }
  return swept;
}

/** What the sweep keeps for its next run. */
interface Note {
  /** A work that goes over all subaccounts, or a subaccount's orphans. */
  _id: string;
  /** When it was last begun. */
  at: Date;
  /** The last subaccount that was begun with. */
  place?: ObjectId;
  /** When the last look for orphans that came to its end began. */
  done?: Date;
}

/** In which database a subaccount's chats were when orphans were last looked for. Kept as long as the subaccount. */
interface DatabaseNote {
  /** `database of ` and the subaccount's id. */
  _id: string;
  database: string;
  /** That is not the first one: chats that were begun before this time may be in another. */
  judgesFrom?: Date;
}

const notes = async () => (await central()).collection<Note>("chatsweeps");

/**
 * Every subaccount once, from the one after that at which the last run stopped: so each has its turn, however much
 * there is to do for those before it. Ends when the time is over.
 */
async function* inTurn(work: string, until: number): AsyncGenerator<Subaccount> {
  const { ObjectId } = await driver();
  const kept = await notes();
  const note = (place: ObjectId) =>
    bounded(kept.updateOne({ _id: work }, { $set: { place }, $currentDate: { at: true } }, { upsert: true }));
  const place = (await bounded(kept.findOne({ _id: work })))?.place ?? new ObjectId("0".repeat(24));
  let last: ObjectId | undefined;
  for (const range of [{ $gt: place }, { $lte: place }]) {
    let page = await pageOf(range);
    while (page.length > 0) {
      for (const { _id, ...document } of page) {
        if (Date.now() > until) {
          if (last) await note(last);
          return;
        }
        // Before its work: of whatever a run may die, the next one does not begin with it.
        if (_id === page[0]?._id) await note(_id);
        last = _id;
        yield { id: String(_id), location: subaccountOf(document) };
      }
      page = page.length < pageSize || !last ? [] : await pageOf({ ...range, $gt: last });
    }
  }
}

async function pageOf(range: { $gt?: ObjectId; $lte?: ObjectId }) {
  const projection = { isActive: 1, databaseName: 1, mongodbUrl: 1, encryptionIV: 1 };
  const subaccounts = (await central()).collection<{ _id: ObjectId }>("subaccounts");
  return bounded(subaccounts.find({ _id: range }, { projection }).sort({ _id: 1 }).limit(pageSize).toArray());
}

/** Does something for a subaccount. Its trouble (its cluster, its account, a 429) is its own: the others are swept. */
async function inTenant({ id, location }: Subaccount, run: Run, work: (tenant: TenantContext) => Promise<void>) {
  const log = new RequestLog({ ...run.log.fields, subaccountId: id }, run.log.metrics);
  const trailing: Promise<unknown>[] = [];
  let tenant: TenantContext | undefined;
  try {
    tenant = await openTenant(id, location, { log, trailing });
    await work(tenant);
  } catch (error) {
    run.left.add(id);
    run.swept.failed += 1;
    log.warn("A subaccount could not be swept", error);
  } finally {
    await Promise.all(trailing);
    tenant?.release();
  }
}

async function settleDue(tenant: TenantContext, { bounds, swept }: Run): Promise<void> {
  const dues = await schedule.due(tenant, bounds.perSubaccount);
  if (dues.length === 0) return;
  const open = new Map<string, Date>();
  for (const { chat_id, turn } of dues) if (turn?.at instanceof Date) open.set(chat_id, turn.at);
  try {
    const retell = await activeRetell(tenant);
    if (!retell) return await putOff(tenant, dues);
    for (const due of dues) {
      if (Date.now() > bounds.until) break;
      if (!(await schedule.claim(tenant, due, claimMs))) continue; // another sweep has it
      const log = new RequestLog({ ...tenant.log.fields, chatId: due.chat_id }, tenant.log.metrics);
      const place = { tenant: { ...tenant, log }, chatId: due.chat_id, retell };
      try {
        if (due.tombstone) {
          if (await sweepGone(place, { ...due, tombstone: due.tombstone })) swept.orphansEnded += 1;
          continue;
        }
        const { chat, failure } = await sweepChat(place, due._id);
        if (!chat.internal?.turn) open.delete(due.chat_id);
        if (!chat.internal?.turn && isAnswer(failure)) swept.settled += 1;
      } catch (error) {
        // Its own trouble is that it was deleted meanwhile, or a bug; any other is its account's or its database's.
        if (error instanceof ApiError && error.code !== "CHAT_NOT_FOUND") throw error;
        swept.failed += 1;
        log.warn("A chat could not be swept", error);
      }
    }
  } finally {
    const ages = Array.from(open.values(), (at) => Math.round((Date.now() - at.getTime()) / 1_000));
    swept.oldestOpenSeconds = Math.max(swept.oldestOpenSeconds, ...ages);
  }
}

/** Undefined when the subaccount has no active Retell account, as is its right: then nothing can be asked. */
async function activeRetell(tenant: TenantContext): Promise<RetellClient | undefined> {
  return retellFor(tenant).catch((error) => {
    if (error instanceof ApiError && error.code === "RETELL_ACCOUNT_INACTIVE") return undefined;
    throw error;
  });
}

/** Without an account nothing is urgent but that an open turn is told of. */
async function putOff(tenant: TenantContext, dues: DueChat[]): Promise<void> {
  for (const due of dues) {
    await schedule.claim(tenant, due, due.turn ? claimMs : hour);
    if (due.turn) tellOpen(tenant.log, due.chat_id, due.turn, new ApiError("RETELL_ACCOUNT_INACTIVE"));
  }
  tenant.log.warn("Chats are due, but there is no active Retell account");
}

async function sweepChat(place: ChatContext, id: ObjectId): Promise<Settled> {
  const signal = () => AbortSignal.timeout(callMs);
  const read = await settle(place, { signal: signal() });
  const settled = await endAgain(place, read, { call: signal, answer: signal });
  const { chat, open, failure } = settled;
  const turn = chat.internal?.turn;
  if (turn && open === "unknown") tellOpen(place.tenant.log, chat.chat_id, turn, failure);
  if (failure?.isOfAccount) throw failure;
  const isRefused = read.failure?.failure === "refused";
  // A read that came to nothing is no sign of life.
  const isGoing = chat.chat_status === "ongoing" && read.failure;
  const refusedSince = isGoing ? (chat.internal?.refusedSince ?? (isRefused ? new Date() : undefined)) : undefined;
  if (isRefused && refusedSince && (await isGoneAtRetell(place, chat, refusedSince))) return closeGone(place, id);
  await schedule.reschedule(place.tenant, id, { sweepAt: nextLook(chat, failure), refusedSince }, chat);
  return settled;
}

/**
 * Whether Retell has refused to show a chat for a week in which nothing happened in it. A key of another workspace is
 * refused every chat, and proves nothing: so Retell must show another of the subaccount's chats, if it has any.
 */
async function isGoneAtRetell({ tenant, chatId, retell }: ChatContext, chat: ReadChat, since: Date): Promise<boolean> {
  const isOld = (date: unknown) => !(date instanceof Date) || Date.now() - date.getTime() >= week;
  if (chat.internal?.turn || !isOld(since) || !isOld(chat.lastMessageAt)) return false;
  const newest = await chats.page(tenant, witnesses + 1, undefined);
  const isOther = (id: unknown): id is string => typeof id === "string" && id !== chatId;
  const others = newest.map(({ chat_id }) => chat_id).filter(isOther);
  for (const id of others.slice(0, witnesses)) {
    const read = await retell.retrieve(id, AbortSignal.timeout(callMs)).catch(asFailure);
    if (!(read instanceof RetellError)) return true;
    if (read.isOfAccount) throw read;
  }
  if (others.length > 0)
    tenant.log.warn("Retell shows none of the subaccount's chats: is its key another workspace's?");
  return others.length === 0;
}

/** Closes a chat that Retell has not any more. */
async function closeGone(place: ChatContext, id: ObjectId): Promise<Settled> {
  const { tenant, chatId } = place;
  const given = { chat_id: chatId, chat_status: "ended" as const, end_timestamp: Date.now(), isAssumed: true as const };
  const settled = await settle(place, { given, signal: AbortSignal.timeout(callMs) });
  tenant.log.warn("A chat was closed: Retell has refused to show it for a week");
  // There is nothing more to come of it.
  await schedule.reschedule(tenant, id, { sweepAt: undefined, refusedSince: undefined }, settled.chat);
  return settled;
}

/** Ends at Retell what was given up, and removes its tombstone in the end. Returns whether it was ended now. */
async function sweepGone(
  place: ChatContext,
  { operationId, tombstone: gone }: DueChat & { tombstone: Tombstone },
): Promise<boolean> {
  const isPast = Date.now() - gone.at.getTime() >= goneMs;
  if (isPast && gone.why !== "deleted") {
    await tombstones.remove(place.tenant, place.chatId);
    return false;
  }
  if (gone.endedAt) return false;
  const failure = await endGone(place, gone, operationId);
  if (failure?.isOfAccount) throw failure;
  if (failure) await tombstones.postpone(place.tenant, place.chatId, Math.max(minute, Date.now() - gone.at.getTime()));
  return !failure;
}

/**
 * Ends a chat at Retell whose tombstone we have put up.
 *
 * @param operationId Of the create that left it, where that is known: it is told under that.
 * @returns Why it could not be ended.
 */
async function endGone({ tenant, chatId, retell }: ChatContext, gone: Tombstone, operationId?: string) {
  const refusal = await retell.end(chatId, AbortSignal.timeout(callMs)).then(() => undefined, asFailure);
  if (refusal) {
    if (refusal.failure !== "refused") return refusal;
    // Over already, or not to be ended: reading it tells.
    const read = await retell.retrieve(chatId, AbortSignal.timeout(callMs)).catch(asFailure);
    if (read instanceof RetellError) return read;
    if (read.chat_status === "ongoing") return refusal;
  }
  await tombstones.markEnded(tenant, chatId, new Date(gone.at.getTime() + goneMs));
  const about = operationId ? { operationId, settledBy: tenant.log.fields.operationId } : {};
  tenant.log.warn("An orphan was ended at Retell", refusal, { ...about, chatId });
  return undefined;
}

/** Logged under the operationId of the send itself: how it came out is not known yet, and why. */
function tellOpen(log: RequestLog, chatId: string, turn: Turn, failure: ApiError | undefined): void {
  const openSeconds = turn.at instanceof Date ? Math.round((Date.now() - turn.at.getTime()) / 1_000) : undefined;
  const { operationId, id: turnId } = turn;
  log.warn("A turn is still open", failure, {
    operationId,
    chatId,
    turnId,
    openSeconds,
    settledBy: log.fields.operationId,
  });
}

/** `refused` is one: Retell does not know the chat. */
const isAnswer = (failure: RetellError | undefined) => !failure || failure.failure === "refused";

/**
 * When a chat is looked at again; undefined when nothing more is expected of it. The waits grow with what is waited
 * for, so that no counter is needed. A date that is missing, or that somebody else wrote as a text, was long ago.
 *
 * @param failure Why Retell could not be asked now. It is asked again soon, as the chat may have ended meanwhile; for a
 *                week, should it be the chat that cannot be read. The same where an end was asked for and failed.
 */
export function nextLook(chat: ReadChat, failure?: RetellError): Date | undefined {
  const now = chat.now.getTime();
  const since = (...dates: unknown[]) => {
    const date = dates.find((one) => one instanceof Date);
    return date ? now - date.getTime() : Number.POSITIVE_INFINITY;
  };
  const turn = chat.internal?.turn;
  if (turn) {
    const age = since(turn.at);
    const wait =
      turn.state === "sending" && age < leaseMs()
        ? leaseMs() - age
        : age < 30_000
          ? 10_000
          : age < 2 * minute
            ? 30_000
            : minute;
    return new Date(now + wait);
  }
  const isOngoing = chat.chat_status === "ongoing";
  const age = isOngoing ? since(chat.lastMessageAt, chat.updatedAt) : since(chat.endedAt, chat.updatedAt);
  if ((!isAnswer(failure) || isEndDue(chat)) && age < week) return new Date(now + 5 * minute);
  if (isOngoing) return new Date(now + Math.min(72 * hour, Math.max(65 * minute, age)));
  if (isComplete(chat)) return undefined;
  const wait = [minute, 5 * minute, 30 * minute, 6 * hour].find((step) => age < step);
  return wait === undefined ? undefined : new Date(now + wait);
}

/** Looks through a subaccount's account at Retell, if it is time to. */
async function lookForOrphans(subaccount: Subaccount, run: Run): Promise<void> {
  const kept = await notes();
  const name = `orphans ${subaccount.id}`;
  const last = await bounded(kept.findOne({ _id: name }));
  const now = Date.now();
  if (now - (last?.at.getTime() ?? 0) < orphansEveryMs) return;
  await bounded(kept.updateOne({ _id: name }, { $currentDate: { at: true } }, { upsert: true }));
  // A look may be late.
  const from = Math.max((last?.done?.getTime() ?? 0) - hour, now - orphansUntilMs);
  await inTenant(subaccount, run, async (tenant) => {
    const judgesFrom = await judgedFrom(tenant);
    const isDone = await endOrphans(tenant, { from: Math.max(from, judgesFrom), to: now - orphanMs }, run);
    // One that has failed is made up for by the next.
    if (isDone) await bounded(kept.updateOne({ _id: name }, { $set: { done: new Date(now) } }));
  });
}

/**
 * From when on chats at Retell can be judged by a subaccount's database (epoch ms). Which database that is was noted in
 * the last run. Where it is another one now, chats that were begun before are stored elsewhere: none of them is ended.
 */
async function judgedFrom(tenant: TenantContext): Promise<number> {
  const { subaccountId, log } = tenant;
  const kept = (await central()).collection<DatabaseNote>("chatsweeps");
  const _id = `database of ${subaccountId}`;
  const database = await databaseId(tenant);
  const last = await bounded(
    kept.findOneAndUpdate({ _id }, { $setOnInsert: { database } }, { upsert: true, returnDocument: "after" }),
  );
  let judgesFrom = last?.judgesFrom?.getTime() ?? 0;
  if (last && last.database !== database) {
    judgesFrom = Date.now() + movingMs;
    await bounded(kept.updateOne({ _id }, { $set: { database, judgesFrom: new Date(judgesFrom) } }));
  }
  if (Date.now() < judgesFrom) {
    log.error("A subaccount's database is another one than before: no chat at Retell is ended for it", undefined);
    log.metrics.add("ChangedDatabases");
  }
  return judgesFrom;
}

/**
 * Ends chats at Retell that a create of ours has left there: stored by nobody, ended by nobody, billed by the message.
 * Only chats that carry our reserved key for this very subaccount and stage are touched: others share the workspace.
 *
 * @returns Whether it came to its end.
 */
async function endOrphans(
  tenant: TenantContext,
  begun: { from: number; to: number },
  { bounds, swept }: Run,
): Promise<boolean> {
  const { subaccountId } = tenant;
  const retell = await activeRetell(tenant);
  if (!retell) return false; // should the account be active again, what it left behind is still to be found
  if (begun.from >= begun.to) return true;
  const ours = await retell.ongoingOf(subaccountId, begun, AbortSignal.timeout(callMs));
  const known = await chats.existing(
    tenant,
    ours.map(({ chatId }) => chatId),
  );
  let failure: RetellError | undefined;
  for (const { chatId, operationId } of ours.filter((chat) => !known.has(chat.chatId))) {
    if (Date.now() > bounds.until) return false;
    const chat = { chat_id: chatId, ...(operationId ? { operationId } : {}) };
    const gone = await tombstones.insert(tenant, chat, "orphan", claimMs);
    if (!gone || gone.endedAt) continue; // a create has come back for it, or Retell's list lags
    const refusal = await endGone({ tenant, chatId, retell }, gone, operationId);
    if (refusal?.isOfAccount) throw refusal;
    if (refusal)
      failure = refusal; // one that cannot be ended does not stand before the others
    else swept.orphansEnded += 1;
  }
  if (failure) throw failure;
  return true;
}
