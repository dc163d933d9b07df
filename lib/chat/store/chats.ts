import { runIn, type TenantContext } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
import { driver, isUnreachable } from "../../platform/mongo.ts";
import type { Position, SortKey, SortKeys } from "../cursor.ts";
import { type ChatSnapshot, countOf, type StoredChat, type StoredMessage } from "../model.ts";
import { withReadableMessages } from "../readable.ts";
import { tagsOf } from "../tags.ts";
import { silentChatMs } from "../timing.ts";
import { findDurable, localRead, messageCount, ofTenant, oneChat, run } from "./collection.ts";

/**
 * The chats of a tenant: find, insert, page. Every function of this folder takes the tenant, and every query carries
 * its subaccountId. All of them throw CONNECTION_FAILED when the tenant's database does not answer in time.
 */

/** A chat as a list finds it: others write into the collection too, so that a field may hold anything. */
export type FoundChat = Record<
  | "chat_id"
  | "agent_id"
  | "chat_status"
  | "start_timestamp"
  | "end_timestamp"
  | "message_count"
  | "end_user_id"
  | "createdAt",
  unknown
>;

export async function insert(tenant: TenantContext, chat: StoredChat): Promise<void> {
  await run(tenant, (chats) => chats.insertOne({ ...chat }));
}

/** The whole chat with the server's clock; null when this subaccount has no such chat. */
export async function get(tenant: TenantContext, chatId: string): Promise<ChatSnapshot | null> {
  const chat = await findDurable(tenant, oneChat(tenant, chatId), (chats) =>
    chats
      .aggregate<ChatSnapshot>([
        { $match: oneChat(tenant, chatId) },
        { $addFields: { now: "$$NOW" } },
        { $unset: "_id" },
      ])
      .toArray()
      .then(([chat]) => chat ?? null),
  );
  return chat && withReadableMessages(chat);
}

/** @throws CHAT_NOT_FOUND, also for another tenant's chat. */
export async function getOrThrow(tenant: TenantContext, chatId: string): Promise<ChatSnapshot> {
  const chat = await get(tenant, chatId);
  if (!chat) throw new ApiError("CHAT_NOT_FOUND");
  if (typeof chat.agent_id === "string") tenant.log.fields.agentId = chat.agent_id;
  return chat;
}

/** The chat that a create with a key has stored; null when the create has not stored one. */
export async function findByRequest(tenant: TenantContext, request: string): Promise<StoredChat | null> {
  const filter = { ...ofTenant(tenant), "internal.request": request };
  const chat = await findDurable(tenant, filter, (chats) => chats.findOne(filter, { projection: { _id: 0 } }));
  return chat && withReadableMessages(chat);
}

/** Which of these chats the tenant has, or has had where tombstones count. */
export async function existing(tenant: TenantContext, chatIds: string[], withTombstones = false): Promise<Set<string>> {
  const all = withTombstones ? { subaccountId: tenant.subaccountId } : ofTenant(tenant);
  const filter = { ...all, chat_id: { $in: chatIds } };
  const found = await run(tenant, (chats) => chats.find(filter, localRead).project({ chat_id: 1 }).toArray());
  return new Set(found.map(({ chat_id }) => chat_id));
}

/** The ids of all chats that are ongoing, as far as we know. */
export async function ongoingIds(tenant: TenantContext): Promise<string[]> {
  const filter = { ...ofTenant(tenant), chat_status: "ongoing" as const };
  const found = await run(tenant, (chats) => chats.find(filter).project({ _id: 0, chat_id: 1 }).toArray());
  return found.map(({ chat_id }) => String(chat_id));
}

/** Bytes of BSON. */
export async function sizeOf(tenant: TenantContext, chatId: string): Promise<number> {
  const projection = { _id: 0, bytes: { $bsonSize: "$$ROOT" } };
  const found = await run(tenant, (chats) => chats.findOne<{ bytes: number }>(oneChat(tenant, chatId), { projection }));
  return found?.bytes ?? 0;
}

/** Whether the subaccount owns such an agent. */
export async function hasAgent(tenant: TenantContext, agentId: string): Promise<boolean> {
  const filter = { agentId, subaccountId: tenant.subaccountId };
  const found = await runIn(tenant, "chatagents", (agents) => agents.findOne(filter, { projection: { _id: 1 } }));
  return found !== null;
}

/**
 * Chats newest first, from a position on (exclusive).
 *
 * @throws CHAT_LIST_FAILED when Mongo answers with an error
 */
export async function page(tenant: TenantContext, limit: number, after: Position | undefined): Promise<FoundChat[]> {
  const all = ofTenant(tenant);
  const older = after && (await beyond(after, -1)).past.map((range) => ({ ...all, ...range }));
  return run(tenant, (chats) =>
    chats
      .find(older ? { $or: older } : all)
      .sort({ start_timestamp: -1, chat_id: -1 })
      .skip(after?.skip ?? 0)
      .limit(limit)
      .project<FoundChat>(listedFields)
      .toArray(),
  ).catch((cause) => {
    throw isUnreachable(cause) ? cause : new ApiError("CHAT_LIST_FAILED", { cause });
  });
}

/**
 * What is after a position, oldest first (1) or newest first (-1). `past`: two ranges of one index, which together are
 * it, and in which no document is read that is not returned, except for tombstones. `from`: one range that has both.
 *
 * `$expr` compares across types as the index does, where `$lt` by itself finds values of one type only.
 */
export async function beyond(after: Position, direction: 1 | -1): Promise<{ past: object[]; from: object }> {
  const [start_timestamp, chat_id] = [await toBson(after.start_timestamp), await toBson(after.chat_id)];
  const beside = direction < 0 ? below : above;
  const later = { ...beside("start_timestamp", start_timestamp), chat_id: noList };
  const sameTime = { ...beside("chat_id", chat_id), start_timestamp: { $eq: start_timestamp, ...noList } };
  const comparison = direction < 0 ? "$lte" : "$gte";
  const from = { $expr: { [comparison]: ["$start_timestamp", { $literal: start_timestamp }] } };
  return { past: [later, sameTime], from };
}

async function toBson(key: SortKey): Promise<unknown> {
  if (typeof key !== "object" || key === null) return key;
  const { Decimal128, Long, MaxKey, ObjectId } = await driver();
  if ("$date" in key) return new Date(key.$date);
  if ("$numberDouble" in key) return Number(key.$numberDouble);
  if ("$numberLong" in key) return Long.fromString(key.$numberLong);
  if ("$numberDecimal" in key) return Decimal128.fromString(key.$numberDecimal);
  return "$oid" in key ? new ObjectId(key.$oid) : new MaxKey();
}

/** A list is sorted by one of its items, and compared by the others too: it would appear again on later pages. */
const noList = { $not: { $type: "array" } };

function below(field: keyof SortKeys, value: unknown): object {
  // Absent is null to the index, and less than null to $expr.
  if (value === null) return { [field]: { $type: "minKey" } };
  return { [field]: noList, $expr: { $lt: [`$${field}`, { $literal: value }] } };
}

/** Absent is null to the index. */
const above = (field: keyof SortKeys, value: unknown) => ({
  [field]: noList,
  $expr: { $gt: [{ $ifNull: [`$${field}`, null] }, { $literal: value }] },
});

/** The old server counts tool calls as messages, so its chats are counted anew. */
const listedCount = { $cond: [{ $gt: ["$internal.retellUserCount", null] }, "$message_count", messageCount] };

/** What is read of a chat for a list. */
export const listedFields = {
  _id: 0,
  chat_id: 1,
  agent_id: 1,
  chat_status: 1,
  start_timestamp: 1,
  end_timestamp: 1,
  message_count: listedCount,
  end_user_id: 1,
  createdAt: 1,
} as const;

/** A new chat's document, with the opening messages that Retell gave. */
export function newChatDocument(
  fields: Pick<
    StoredChat,
    | "chat_id"
    | "agent_id"
    | "chat_status"
    | "start_timestamp"
    | "metadata"
    | "retell_llm_dynamic_variables"
    | "subaccountId"
    | "createdBy"
    | "operationId"
    | "retellAccountId"
    | "end_user_id"
  >,
  messages: StoredMessage[],
  request: string | undefined,
): StoredChat {
  const now = new Date();
  return {
    ...fields,
    end_timestamp: null,
    transcript: "",
    message_count: countOf(messages),
    messages,
    collected_dynamic_variables: {},
    chat_cost: null,
    chat_analysis: null,
    createdAt: now,
    updatedAt: now,
    lastMessageAt: now,
    internal: {
      revision: 1,
      retellUserCount: 0,
      prependedCount: 0,
      opening: messages.length,
      ...(request ? { request } : {}),
      nextSweepAt: new Date(now.getTime() + silentChatMs),
      tags: tagsOf(fields),
    },
  };
}
