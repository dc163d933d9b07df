import { createHash } from "node:crypto";
import type { ObjectId } from "mongodb";
import { subaccountOf } from "../access.ts";
import { CallLog } from "../logger.ts";
import { bounded, central } from "../mongo.ts";
import { asFailure, RetellError, retellFor } from "../retell/client.ts";
import { openTenant, type Tenant } from "../tenant.ts";
import type { ReadChat } from "./document.ts";
import { leaseMs, settle } from "./settle.ts";
import { chats } from "./store.ts";

/** What one run does at most. */
export interface Bounds {
  /** Epoch ms after which nothing new is begun. */
  until: number;
  /** Chats of one subaccount. */
  perSubaccount: number;
}

/** What one run has done. */
export interface Swept {
  databases: number;
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

const minute = 60_000;
const hour = 60 * minute;
/** A claimed chat comes back after this, should its sweep die. */
const claimMs = 2 * minute;
/** How often a subaccount's Retell account is looked through for orphans, and from which age on a chat may be one. */
const orphansEveryMs = 10 * minute;
const orphanMs = 10 * minute;

/**
 * Looks at chats that are due: settles turns that nobody came back for, notices chats that ended at Retell, fetches
 * analysis and cost that came late, and ends orphans. Any number of sweeps may run at once: each chat is claimed.
 *
 * The databases are taken by how long they have waited; an account that answers 429, or not at all five times in a row,
 * is left alone until the next run.
 */
export async function sweep(bounds: Bounds, log: CallLog): Promise<Swept> {
  const swept: Swept = { databases: 0, settled: 0, orphansEnded: 0, failed: 0, oldestOpenSeconds: 0 };
  for (const [place, subaccounts] of await byDatabase()) {
    if (Date.now() > bounds.until) break;
    await (await sweeps()).updateOne({ _id: place }, { $currentDate: { at: true } }, { upsert: true });
    swept.databases += 1;
    for (const subaccount of subaccounts) {
      if (Date.now() > bounds.until) break;
      await sweepSubaccount(subaccount, bounds, log, swept);
    }
  }
  return swept;
}

/** Every subaccount, by the database that it is in; the database that was not swept for the longest time first. */
async function byDatabase(): Promise<[string, Subaccount[]][]> {
  const groups = new Map<string, Subaccount[]>();
  const projection = { isActive: 1, databaseName: 1, mongodbUrl: 1, encryptionIV: 1 };
  for await (const document of (await central()).collection("subaccounts").find({}, { projection })) {
    const location = subaccountOf(document);
    // A cluster address is a secret; the same one is encrypted differently each time, which costs a second visit.
    const place = createHash("sha256")
      .update(JSON.stringify([location.mongodbUrl?.text, location.databaseName]))
      .digest("base64url");
    groups.set(place, [...(groups.get(place) ?? []), { id: String(document._id), location }]);
  }
  const swept = await (await sweeps()).find().toArray();
  const sweptAt = new Map(swept.map(({ _id, at }) => [_id, at.getTime()]));
  return [...groups].sort(([a], [b]) => (sweptAt.get(a) ?? 0) - (sweptAt.get(b) ?? 0));
}

/** When what was looked at last: a database, or a subaccount's account for orphans. */
const sweeps = async () => (await central()).collection<{ _id: string; at: Date }>("chatsweeps");

async function sweepSubaccount({ id, location }: Subaccount, bounds: Bounds, run: CallLog, swept: Swept) {
  const log = new CallLog({ ...run.fields, subaccountId: id }, run.metrics);
  const open = new Map<string, Date>();
  const trailing: Promise<unknown>[] = [];
  let tenant: Tenant | undefined;
  try {
    tenant = await openTenant(id, location, { log, trailing });
    const dues = await chats.due(tenant, bounds.perSubaccount);
    for (const { chat_id, turnAt } of dues) if (turnAt) open.set(chat_id, turnAt);
    for (const due of dues) {
      if (Date.now() > bounds.until) break;
      if (!(await chats.claim(tenant, due, claimMs))) continue; // another sweep has it
      const chatLog = new CallLog({ ...log.fields, chatId: due.chat_id }, run.metrics);
      const { internal } = await sweepChat({ ...tenant, log: chatLog }, due.chat_id, due._id, bounds);
      if (!internal?.turn) open.delete(due.chat_id);
      swept.settled += 1;
    }
    swept.orphansEnded += await endOrphans(tenant, bounds);
  } catch (error) {
    // A tenant's trouble (its cluster, its account, a 429) is its own: the others are swept.
    swept.failed += 1;
    log.warn("A subaccount could not be swept", error);
  } finally {
    await Promise.all(trailing);
    tenant?.release();
    const ages = Array.from(open.values(), (at) => Math.round((Date.now() - at.getTime()) / 1_000));
    swept.oldestOpenSeconds = Math.max(swept.oldestOpenSeconds, ...ages);
  }
}

async function sweepChat(tenant: Tenant, chatId: string, id: ObjectId, { until }: Bounds): Promise<ReadChat> {
  const retell = await retellFor(tenant);
  const signal = AbortSignal.timeout(Math.max(1, Math.min(20_000, until - Date.now())));
  const { chat, failure } = await settle({ tenant, chatId, retell }, { signal });
  if (failure?.isOfAccount) throw failure;
  await chats.setDue(tenant, id, nextLook(chat), chat);
  return chat;
}

/**
 * When a chat is looked at again; undefined when nothing more is expected of it. The waits grow with what is waited
 * for, so that no counter is needed.
 */
export function nextLook(chat: ReadChat): Date | undefined {
  const now = chat.now.getTime();
  const turn = chat.internal?.turn;
  if (turn) {
    const age = now - turn.at.getTime();
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
  if (chat.chat_status === "ongoing") {
    const silence = now - chat.lastMessageAt.getTime();
    return new Date(now + Math.min(72 * hour, Math.max(65 * minute, silence)));
  }
  if (chat.chat_analysis) return undefined;
  const since = now - (chat.endedAt ?? chat.updatedAt).getTime();
  const wait = [minute, 5 * minute, 30 * minute, 6 * hour].find((step) => since < step);
  return wait === undefined ? undefined : new Date(now + wait);
}

/**
 * Ends chats at Retell that a create of ours has left there: stored by nobody, ended by nobody, billed by the message.
 * Only chats that carry our reserved key for this very subaccount are touched: others share the workspace.
 */
async function endOrphans(tenant: Tenant, { until }: Bounds): Promise<number> {
  const { subaccountId, log } = tenant;
  const looks = await sweeps();
  const name = `orphans ${subaccountId}`;
  const last = (await bounded(looks.findOne({ _id: name })))?.at.getTime() ?? 0;
  if (Date.now() - last < orphansEveryMs || Date.now() > until) return 0;
  await bounded(looks.updateOne({ _id: name }, { $currentDate: { at: true } }, { upsert: true }));

  const retell = await retellFor(tenant);
  const signal = AbortSignal.timeout(Math.max(1, Math.min(20_000, until - Date.now())));
  // A look may be late, and a chat that is closed for its silence needs no end of ours: the last hours are enough.
  const window = { from: Math.max(last - hour, Date.now() - 73 * hour), to: Date.now() - orphanMs };
  const ours = await retell.ongoingOf(subaccountId, window, signal);
  const known = await chats.known(
    tenant,
    ours.map(({ chatId }) => chatId),
  );
  let ended = 0;
  for (const { chatId, operationId } of ours.filter((chat) => !known.has(chat.chatId))) {
    const refusal = await retell.end(chatId, signal).then(() => undefined, asFailure);
    if (refusal instanceof RetellError && refusal.failure !== "refused") throw refusal;
    // Logged under the operationId of the create that left it, where it says so.
    const about = operationId ? { operationId, settledBy: log.fields.operationId } : {};
    log.warn("An orphan was ended at Retell", refusal, { ...about, chatId });
    ended += 1;
  }
  return ended;
}
