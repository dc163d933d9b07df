import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import { ApiError } from "../platform/errors.ts";
import { isDuplicate, isUnreachable } from "../platform/mongo.ts";
import type { Account } from "../retell/account.ts";
import type { RetellChatRequest, RetellClient } from "../retell/client.ts";
import type { RetellChat } from "../retell/schema.ts";
import type { Begun } from "./context.ts";
import type { StoredChat } from "./model.ts";
import { toStoredMessage } from "./new-message.ts";
import { numbered } from "./search/segment.ts";
import { withWords } from "./search/with-words.ts";
import * as chats from "./store/chats.ts";
import * as tombstones from "./store/tombstones.ts";
import { unstoredChatMs } from "./timing.ts";

/** The chat that is asked for. */
export interface CreateChatInput extends RetellChatRequest {
  createdBy: string;
  operationId: string;
  endUserId: string | undefined;
}

/** Where a chat is created, and until when. */
export interface CreateContext {
  tenant: TenantContext;
  deadline: Deadline;
  begun: Begun;
}

/** @param request The name of the create, if it has a key. */
export function documentOf(
  { subaccountId }: TenantContext,
  input: CreateChatInput,
  created: RetellChat,
  account: Account,
  request: string | undefined,
): StoredChat {
  return chats.newChatDocument(
    {
      chat_id: created.chat_id,
      agent_id: created.agent_id ?? input.agentId,
      chat_status: created.chat_status,
      start_timestamp: created.start_timestamp ?? Date.now(),
      metadata: input.metadata,
      retell_llm_dynamic_variables: { ...input.variables, chat_id: created.chat_id },
      subaccountId,
      createdBy: input.createdBy,
      operationId: input.operationId,
      retellAccountId: account.id,
      ...(input.endUserId === undefined ? {} : { end_user_id: input.endUserId }),
    },
    (created.message_with_tool_calls ?? []).map((entry) => toStoredMessage(entry)),
    request,
  );
}

/**
 * Stores a chat that Retell has just created. When that fails the chat is ended at Retell, unless a repeat with the key
 * may find it: so nobody pays for a chat that nobody can reach. The breaker is not asked, as Retell has answered just
 * now.
 *
 * @returns The chat of this create: another attempt's, where that one was faster.
 */
export async function insertOrEndAtRetell(
  context: CreateContext,
  retell: RetellClient,
  chat: StoredChat,
): Promise<StoredChat> {
  const { tenant, deadline } = context;
  try {
    return await insert(tenant, chat);
  } catch (error) {
    if (isDuplicate(error)) return afterDuplicate(context, retell, chat, error);
    // Past its time an attempt does not know whether a repeat has taken the chat over: the sweep finds out.
    if (deadline.leftMs <= 0) throw error;
    if (chat.internal?.request) {
      // It may be stored. The key's repeat finds it, here or at Retell; without a repeat the sweep does.
      if (isUnreachable(error)) throw error;
      await tombstones.insert(tenant, chat, "unstored", unstoredChatMs).catch(() => {});
    }
    await endAtRetell(context, retell, chat.chat_id);
    throw error;
  }
}

/** Stores a chat that only Retell knew. Repeats at the same time find the same one: the first stores it for all. */
export async function storeRecoveredChat(
  context: CreateContext,
  retell: RetellClient,
  chat: StoredChat,
): Promise<StoredChat> {
  try {
    return await insert(context.tenant, chat);
  } catch (error) {
    if (isDuplicate(error)) return afterDuplicate(context, retell, chat, error);
    throw error;
  }
}

async function insert(tenant: TenantContext, chat: StoredChat): Promise<StoredChat> {
  await withWords(chats.insert(tenant, chat), tenant, chat, numbered(chat, chat.messages));
  tenant.log.metrics.add("ChatsCreated");
  return chat;
}

/**
 * Finds the document that kept a chat from being stored. Nothing is ended before: a repeat may have returned this very
 * chat.
 *
 * @returns The chat that stands for the create: this one, stored by another attempt, or the one of another attempt.
 * @throws CHAT_NOT_FOUND when the chat was given up.
 */
async function afterDuplicate(
  context: CreateContext,
  retell: RetellClient,
  chat: StoredChat,
  error: unknown,
): Promise<StoredChat> {
  const { tenant } = context;
  const request = chat.internal?.request;
  const stored =
    (await chats.get(tenant, chat.chat_id)) ?? (request ? await chats.findByRequest(tenant, request) : null);
  const deleted = !stored && request ? await tombstones.findDeleted(tenant, request) : undefined;
  const found = stored?.chat_id ?? deleted;
  if (found && found !== chat.chat_id && (await tombstones.insert(tenant, chat, "unstored", unstoredChatMs))) {
    await endAtRetell(context, retell, chat.chat_id);
  }
  if (stored) return stored;
  if (deleted || (await tombstones.get(tenant, chat.chat_id))) throw chatGone(error);
  throw error;
}

async function endAtRetell({ tenant, deadline }: CreateContext, retell: RetellClient, chatId: string): Promise<void> {
  await retell
    .end(chatId, deadline.answerSignal(), { bypassBreaker: true })
    .catch((failure) => tenant.log.error("A chat that was not stored could not be ended at Retell", failure));
}

/** The chat of a key is gone. A repeat with the key is told so, and creates no other chat. */
export function chatGone(cause?: unknown): ApiError {
  return new ApiError("CHAT_NOT_FOUND", { cause, message: "The chat that was created with this key is gone" });
}
