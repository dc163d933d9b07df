import type { TenantContext } from "../../access/tenant.ts";
import { isDuplicate } from "../../platform/mongo.ts";
import type { StoredChat, Tombstone } from "../model.ts";
import { newChatDocument } from "./chats.ts";
import { localRead, msFromNow, run } from "./collection.ts";

/** What a tombstone keeps of its chat. */
type GivenUpChat = Pick<StoredChat, "chat_id"> &
  Partial<Pick<StoredChat, "agent_id" | "start_timestamp" | "operationId">>;

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
  const { chat_id, subaccountId: _inFilter, ...rest } = documentOf(tenant, chat, why, waitMs);
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

/** Every field that a reader of chats expects, this server or the old one: an empty chat that has ended. */
function documentOf(
  { subaccountId }: TenantContext,
  { chat_id, agent_id = "", start_timestamp, operationId = "" }: GivenUpChat,
  why: Tombstone["why"],
  waitMs: number,
): StoredChat {
  const at = new Date();
  const fields = {
    chat_id,
    agent_id,
    chat_status: "ended" as const,
    start_timestamp: start_timestamp ?? at.getTime(),
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
    internal: { revision: 1, retellUserCount: 0, nextSweepAt: new Date(at.getTime() + waitMs), tombstone: { at, why } },
  };
}
