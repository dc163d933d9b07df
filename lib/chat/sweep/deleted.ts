import type { ObjectId } from "mongodb";
import { asFailure, RetellError } from "../../retell/errors.ts";
import type { ChatContext } from "../context.ts";
import type { ChatSnapshot } from "../model.ts";
import { type Settled, settle } from "../settle.ts";
import * as chats from "../store/chats.ts";
import { deletedAtRetellMs } from "../timing.ts";
import { callSignal } from "./run.ts";
import { indexAndReschedule } from "./words.ts";

/** Of how many other chats of the subaccount Retell must show one, before a chat counts as deleted there. */
const maxWitnesses = 5;

/**
 * Whether Retell has deleted a chat: it has refused to show it for a week in which nothing happened in the chat.
 */
export async function isDeletedAtRetell(
  context: ChatContext,
  chat: ChatSnapshot,
  refusedSince: Date,
): Promise<boolean> {
  const isOld = (date: unknown) => !(date instanceof Date) || Date.now() - date.getTime() >= deletedAtRetellMs;
  if (chat.internal?.turn || !isOld(refusedSince) || !isOld(chat.lastMessageAt)) return false;
  return showsAnotherChat(context);
}

/**
 * Whether Retell's refusal to show a chat says that it does not have it. A key of another workspace is refused every
 * chat, which proves nothing: so Retell must show another chat of the subaccount, if there is one.
 */
export async function showsAnotherChat({ tenant, chatId, retell }: ChatContext): Promise<boolean> {
  const newest = await chats.page(tenant, maxWitnesses + 1, undefined);
  const isOther = (id: unknown): id is string => typeof id === "string" && id !== chatId;
  const others = newest.map(({ chat_id }) => chat_id).filter(isOther);
  for (const id of others.slice(0, maxWitnesses)) {
    const read = await retell.retrieve(id, callSignal()).catch(asFailure);
    if (!(read instanceof RetellError)) return true;
    if (read.isAccountWide) throw read;
  }
  if (others.length > 0)
    tenant.log.warn("Retell shows none of the subaccount's chats: is its key another workspace's?");
  return others.length === 0;
}

/** Closes a chat that Retell has deleted. */
export async function closeDeleted(context: ChatContext, id: ObjectId): Promise<Settled> {
  const { tenant, chatId } = context;
  const history = {
    chat_id: chatId,
    chat_status: "ended" as const,
    end_timestamp: Date.now(),
    isAssumed: true as const,
  };
  const settled = await settle(context, { history, signal: callSignal() });
  tenant.log.warn("A chat was closed: Retell has refused to show it for a week");
  // Retell has nothing more to tell of it.
  await indexAndReschedule(tenant, id, settled.chat, { sweepAt: undefined, refusedSince: undefined });
  return settled;
}
