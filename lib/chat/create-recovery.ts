import { ApiError } from "../platform/errors.ts";
import type { RetellClient } from "../retell/client.ts";
import { asFailure, RetellError } from "../retell/errors.ts";
import type { RetellChat } from "../retell/schema.ts";
import { type RecordSnapshot, requestName } from "./create-keys.ts";
import { type CreateChatInput, type CreateContext, chatGone, documentOf, storeRecoveredChat } from "./create-store.ts";
import type { StoredChat } from "./model.ts";
import * as chats from "./store/chats.ts";
import * as tombstones from "./store/tombstones.ts";
import { leaseMs, settleAfter500Ms, settleMs } from "./timing.ts";

/** Whether the attempt that has a key may still be alive. */
export const isRunning = (record: RecordSnapshot) => record.state === "running" && ageOf(record) < leaseMs();

/**
 * The chat of an attempt that died, or that Retell did not answer. Either the attempt stored it and did not note it, or
 * only Retell knows it, and it is stored now. Undefined when there is none, or one that is over and was never stored:
 * nobody was told of it.
 *
 * @throws CHAT_NOT_FOUND when the chat was given up; REQUEST_IN_PROGRESS while Retell may still create it
 */
export async function recoverChat(
  context: CreateContext,
  input: CreateChatInput,
  record: RecordSnapshot,
  retell: RetellClient,
): Promise<StoredChat | undefined> {
  const { tenant, deadline } = context;
  const request = requestName(record);
  const stored = await chats.findByRequest(tenant, request);
  // It may have been returned: it is what came of the key, over or not.
  if (stored) return stored;
  if (await tombstones.findDeleted(tenant, request)) throw chatGone();

  const chatId = await retell.findCreated(input.agentId, { request }, record.at, deadline.callSignal());
  if (!chatId) {
    if (mayStillAppear(record)) throw inProgress(Math.min(60, Math.ceil(ageOf(record) / 4_000)));
    return undefined;
  }
  const history = await retell.retrieve(chatId, deadline.answerSignal()).catch((error) => {
    throw new RetellError("CHAT_CREATION_FAILED", asFailure(error).kind, error);
  });
  if (history.chat_status === "ongoing") {
    return storeRecoveredChat(context, retell, documentOf(tenant, input, history, retell.account, request));
  }
  const tombstone = await tombstones.get(tenant, chatId);
  if (tombstone && tombstone.why !== "unstored") throw chatGone();
  return undefined;
}

/** Whether Retell may still create the chat, or show it for the first time. */
function mayStillAppear(record: RecordSnapshot): boolean {
  const { finishedAt, now } = record;
  if (finishedAt) return now.getTime() - finishedAt.getTime() <= settleAfter500Ms;
  return ageOf(record) < settleMs();
}

/**
 * The chat of a create that Retell has refused: a 4xx does not prove that there is none. Retell's list is read once,
 * and decides.
 *
 * @throws The refusal, with an unknown outcome, when Retell cannot be read.
 */
export async function findDespiteRefusal(
  { tenant, deadline }: CreateContext,
  retell: RetellClient,
  { agentId, operationId }: CreateChatInput,
  { request, since, refusal }: { request: string | undefined; since: Date; refusal: RetellError },
): Promise<RetellChat | undefined> {
  const options = { bypassBreaker: true };
  const by = request ? { request } : { subaccountId: tenant.subaccountId, operationId };
  try {
    const chatId = await retell.findCreated(agentId, by, since, deadline.answerSignal(), options);
    if (!chatId) return undefined;
    // A client may send several requests with one operationId: the chat of another create is not this one's.
    if (!request && (await chats.existing(tenant, [chatId])).has(chatId)) return undefined;
    const history = await retell.retrieve(chatId, deadline.answerSignal(), options);
    return history.chat_status === "ongoing" ? history : undefined;
  } catch (error) {
    if (!(error instanceof RetellError)) throw error;
    tenant.log.warn("Not known whether a refused create has left a chat", error);
    throw new RetellError(refusal.code, refusal.kind, refusal, { outcome: "unknown" });
  }
}

const ageOf = ({ at, now }: RecordSnapshot) => now.getTime() - at.getTime();

/** @param retryAfter Seconds. */
export const inProgress = (retryAfter: number) => new ApiError("REQUEST_IN_PROGRESS", { retryAfter });
