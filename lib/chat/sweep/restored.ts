import type { TenantContext } from "../../access/tenant.ts";
import { isDuplicate } from "../../platform/mongo.ts";
import { type CreatedChat, reservedKey, retellFor } from "../../retell/client.ts";
import { asFailure, RetellError } from "../../retell/errors.ts";
import type { RetellChat } from "../../retell/schema.ts";
import type { ChatContext } from "../context.ts";
import * as keys from "../create-keys.ts";
import { isUser, type StoredChat } from "../model.ts";
import { toStoredMessage } from "../new-message.ts";
import { settle } from "../settle.ts";
import * as chats from "../store/chats.ts";
import { restoredMarginMs, restoredReadMs } from "../timing.ts";
import { judgeOnlyFrom } from "./orphans.ts";
import { callSignal } from "./run.ts";

/** Chats that are looked up in one query. */
const lookedUp = 500;
/** Chats that are read at Retell at a time. */
const readAtATime = 5;

/**
 * After a restore: stores the chats that creates of ours began since a time, that Retell has, and that the database
 * lacks. From then on the sweep ends no chat as an orphan that began before. It may be repeated: what is stored stays.
 *
 * Lost for good: who created a chat (`createdBy` is empty), and messages that failed. Messages get Retell's ids.
 *
 * @param since Epoch ms. The database has everything that was written until then.
 * @returns     How many were stored, or would be.
 * @throws      RetellError when Retell cannot be read; what `retellFor` throws.
 */
export async function adoptChatsSince(tenant: TenantContext, since: number, isDryRun: boolean): Promise<number> {
  const retell = await retellFor(tenant);
  const now = Date.now();
  if (!isDryRun) await judgeOnlyFrom(tenant, now); // first: a sweep must not end what is being stored
  const range = { from: since - restoredMarginMs, to: now + restoredMarginMs, status: "any" as const };
  const begun = await retell.createdIn(tenant.subaccountId, range, AbortSignal.timeout(restoredReadMs));
  let adopted = 0;
  for (let at = 0; at < begun.length; at += lookedUp) {
    const some = begun.slice(at, at + lookedUp);
    const stored = await chats.existing(
      tenant,
      some.map(({ chatId }) => chatId),
      true,
    );
    for (const chat of some.filter(({ chatId }) => !stored.has(chatId))) {
      if (isDryRun || (await adopt({ tenant, chatId: chat.chatId, retell }, chat))) adopted += 1;
    }
  }
  return adopted;
}

/**
 * After a restore: reads at Retell what was said in the ongoing chats that the database has. It must be done before the
 * next send: a reply that is stored first would stand before what was said until then.
 *
 * @returns How many chats were read.
 * @throws  RetellError for the first chat that cannot be read. What is read so far stays.
 */
export async function catchUp(tenant: TenantContext): Promise<number> {
  const retell = await retellFor(tenant);
  const ids = await chats.ongoingIds(tenant);
  for (let at = 0; at < ids.length; at += readAtATime) {
    const some = ids.slice(at, at + readAtATime).map(async (chatId) => {
      const { failure } = await settle({ tenant, chatId, retell }, { signal: callSignal() });
      if (failure && failure.kind !== "refused") throw failure; // a refusal is an answer: Retell has deleted it
    });
    await Promise.all(some);
  }
  return ids.length;
}

/** False where a tombstone has its place, or where Retell shows it no more. */
async function adopt(context: ChatContext, { operationId, request }: CreatedChat): Promise<boolean> {
  const { tenant, chatId, retell } = context;
  const history = await retell.retrieve(chatId, callSignal()).catch(asFailure);
  if (history instanceof RetellError) {
    if (history.kind !== "refused") throw history;
    tenant.log.warn("A chat that began after the restore point cannot be read at Retell", history, { chatId });
    return false;
  }
  const document = documentOf(tenant, history, { accountId: retell.account.id, operationId, request });
  try {
    await chats.insert(tenant, document);
  } catch (error) {
    if (isDuplicate(error)) return false;
    throw error;
  }
  if (request) await keys.restore(tenant, request, chatId);
  // What was said follows in the way of every late entry. If this process dies here, the sweep does it.
  await settle(context, { signal: callSignal(), ...(history.chat_status === "ongoing" ? {} : { history }) });
  tenant.log.info("A chat was stored again after a restore", { chatId, ...(operationId ? { operationId } : {}) });
  return true;
}

/** The document as its create stored it: with the opening messages alone. */
function documentOf(
  { subaccountId }: TenantContext,
  history: RetellChat,
  of: { accountId: string; operationId: string | undefined; request: string | undefined },
): StoredChat {
  const { chat_id, agent_id = "", start_timestamp = Date.now(), message_with_tool_calls } = history;
  const { [reservedKey]: _ours, ...metadata } = history.metadata ?? {};
  const entries = message_with_tool_calls ?? [];
  const firstUser = entries.findIndex(isUser);
  const opening = firstUser < 0 ? entries : entries.slice(0, firstUser);
  const variables = Object.entries(history.retell_llm_dynamic_variables ?? {}).map(([name, value]) => [
    name,
    String(value),
  ]);
  const document = chats.newChatDocument(
    {
      chat_id,
      agent_id,
      chat_status: "ongoing",
      start_timestamp,
      metadata,
      retell_llm_dynamic_variables: { ...Object.fromEntries(variables), chat_id },
      subaccountId,
      createdBy: "",
      operationId: of.operationId ?? "",
      retellAccountId: of.accountId,
    },
    opening.map((entry) => toStoredMessage(entry)),
    of.request,
  );
  const now = new Date();
  return {
    ...document,
    createdAt: new Date(start_timestamp),
    ...(document.internal ? { internal: { ...document.internal, nextSweepAt: now } } : {}),
  };
}
