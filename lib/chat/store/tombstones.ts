import type { UpdateFilter } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import { isDuplicate } from "../../platform/mongo.ts";
import type { StoredChat, Tombstone, Turn } from "../model.ts";
import { newChatDocument } from "./chats.ts";
import { localRead, msFromNow, oneChat, run } from "./collection.ts";

/** What a tombstone keeps of its chat. */
type GivenUpChat = Pick<StoredChat, "chat_id"> & Partial<Pick<StoredChat, "agent_id" | "operationId">>;

/** What a deletion needs to know of a chat, or of the tombstone in its place. */
export interface DeletableChat {
  chat_status: unknown;
  operationId: unknown;
  turn?: Turn;
  /** The name of the create that it came of. */
  request?: string;
  tombstone?: Tombstone;
}

/**
 * Gives a chat up for good: inserts a tombstone in its place, unless there is one. From then on no create can store the
 * chat. A create that stored it before keeps it.
 *
 * @param waitMs When the sweep looks at the tombstone: then it ends the chat at Retell.
 * @returns The tombstone; null when the chat is stored, and must not be given up.
 */
export async function insert(
  tenant: TenantContext,
  chat: GivenUpChat,
  why: Tombstone["why"],
  waitMs: number,
): Promise<Tombstone | null> {
  const tombstone = { at: new Date(), why };
  const { chat_id, subaccountId: _inFilter, ...rest } = documentOf(tenant, chat, tombstone, waitMs);
  const filter = tombstoneOf(tenant, chat_id);
  try {
    const found = await run(tenant, (chats) =>
      chats.findOneAndUpdate(
        filter,
        { $setOnInsert: rest },
        { upsert: true, returnDocument: "after", projection: { internal: 1 } },
      ),
    );
    return found?.internal?.tombstone ?? null;
  } catch (error) {
    if (isDuplicate(error)) return null;
    throw error;
  }
}

/**
 * Deletes a chat: a tombstone replaces its document, whatever state that is in. It keeps the name of the chat's create,
 * so that a repeat of that is told that the chat is gone.
 *
 * @param waitMs When the sweep looks at the tombstone.
 * @returns False when another request has deleted it.
 */
export async function replaceChat(
  tenant: TenantContext,
  chatId: string,
  { operationId, request }: DeletableChat,
  tombstone: Tombstone,
  waitMs: number,
): Promise<boolean> {
  const chat = { chat_id: chatId, ...(typeof operationId === "string" ? { operationId } : {}) };
  const document = documentOf(tenant, chat, tombstone, waitMs, request);
  const { matchedCount } = await run(tenant, (chats) => chats.replaceOne(oneChat(tenant, chatId), document));
  return matchedCount === 1;
}

/** A chat, or the tombstone in its place, without what was said in it; null when there is neither. */
export async function findDeletable(tenant: TenantContext, chatId: string): Promise<DeletableChat | null> {
  const filter = { subaccountId: tenant.subaccountId, chat_id: chatId };
  const projection = {
    _id: 0,
    chat_status: 1,
    operationId: 1,
    turn: "$internal.turn",
    request: "$internal.request",
    tombstone: "$internal.tombstone",
  };
  return run(tenant, (chats) => chats.findOne<DeletableChat>(filter, { ...localRead, projection }));
}

/** The id of the chat that came of a create and was deleted; undefined when there is none. */
export async function findDeleted(tenant: TenantContext, request: string): Promise<string | undefined> {
  const { subaccountId } = tenant;
  const filter = { subaccountId, "internal.request": request, "internal.tombstone": { $exists: true } };
  const options = { ...localRead, projection: { chat_id: 1 } };
  return (await run(tenant, (chats) => chats.findOne(filter, options)))?.chat_id;
}

/** The tombstone of a chat; null when there is none. */
export async function get(tenant: TenantContext, chatId: string): Promise<Tombstone | null> {
  const options = { ...localRead, projection: { internal: 1 } };
  const found = await run(tenant, (chats) => chats.findOne(tombstoneOf(tenant, chatId), options));
  return found?.internal?.tombstone ?? null;
}

/** Notes that the chat is over at Retell. `sweepAt`: when the sweep looks at the tombstone again. */
export async function markEnded(tenant: TenantContext, chatId: string, sweepAt: Date): Promise<void> {
  const $set = { "internal.tombstone.endedAt": new Date(), "internal.nextSweepAt": sweepAt };
  await run(tenant, (chats) => chats.updateOne(tombstoneOf(tenant, chatId), { $set }));
}

/**
 * Notes what is known of a deleted chat at Retell.
 *
 * @param waitMs When the sweep looks at the tombstone again; undefined: never, as nothing is left to do.
 */
export async function note(
  tenant: TenantContext,
  chatId: string,
  { endedAt, atRetell }: Pick<Tombstone, "endedAt" | "atRetell">,
  waitMs: number | undefined,
): Promise<void> {
  const known = {
    ...(endedAt ? { "internal.tombstone.endedAt": endedAt } : {}),
    ...(atRetell ? { "internal.tombstone.atRetell": atRetell } : {}),
  };
  const update: UpdateFilter<StoredChat> =
    waitMs === undefined
      ? { $set: known, $unset: { "internal.nextSweepAt": "" } }
      : { $set: { ...known, "internal.nextSweepAt": msFromNow(waitMs) } };
  // A client may have asked for the deletion at Retell since the sweep has read the tombstone.
  const notWanted = { "internal.tombstone.atRetell": { $ne: "pending" as const } };
  const filter = { ...tombstoneOf(tenant, chatId), ...(waitMs === undefined && !atRetell ? notWanted : {}) };
  await run(tenant, (chats) => chats.updateOne(filter, update));
}

/** Sets when the sweep looks at a tombstone next. */
export async function postpone(tenant: TenantContext, chatId: string, ms: number): Promise<void> {
  const $set = { "internal.nextSweepAt": msFromNow(ms) };
  await run(tenant, (chats) => chats.updateOne(tombstoneOf(tenant, chatId), { $set }));
}

export async function remove(tenant: TenantContext, chatId: string): Promise<void> {
  await run(tenant, (chats) => chats.deleteOne(tombstoneOf(tenant, chatId)));
}

const tombstoneOf = ({ subaccountId }: TenantContext, chatId: string) => ({
  subaccountId,
  chat_id: chatId,
  "internal.tombstone": { $exists: true },
});

/**
 * Every field that a reader of chats expects, this server or the old one: an empty chat that has ended. It began at 0,
 * outside of every range of time, so that pages, filters and sums need not step over tombstones.
 *
 * @param request The name of the create, where a repeat of it must find the tombstone.
 */
function documentOf(
  { subaccountId }: TenantContext,
  { chat_id, agent_id = "", operationId = "" }: GivenUpChat,
  tombstone: Tombstone,
  waitMs: number,
  request?: string,
): StoredChat {
  const { at } = tombstone;
  const fields = {
    chat_id,
    agent_id,
    chat_status: "ended" as const,
    start_timestamp: 0,
    metadata: {},
    retell_llm_dynamic_variables: {},
    subaccountId,
    createdBy: "",
    operationId,
    retellAccountId: "",
  };
  return {
    ...newChatDocument(fields, [], undefined),
    end_timestamp: at.getTime(),
    endedAt: at,
    internal: {
      revision: 1,
      retellUserCount: 0,
      nextSweepAt: new Date(at.getTime() + waitMs),
      tombstone,
      ...(request === undefined ? {} : { request }),
    },
  };
}
