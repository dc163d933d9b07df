import type { TenantContext } from "../access/tenant.ts";
import { config } from "../platform/config.ts";
import { ApiError } from "../platform/errors.ts";
import { isUnreachable } from "../platform/mongo.ts";
import type { Account } from "../retell/account.ts";
import { type RetellClient, reservedKey, retellFor } from "../retell/client.ts";
import { isRefusal, RetellError } from "../retell/errors.ts";
import type { RetellChat } from "../retell/schema.ts";
import * as cache from "./cache.ts";
import type { RecordSnapshot } from "./create-keys.ts";
import * as keys from "./create-keys.ts";
import { findDespiteRefusal, inProgress, isRunning, recoverChat } from "./create-recovery.ts";
import { type CreateChatInput, type CreateContext, chatGone, documentOf, insertOrEndAtRetell } from "./create-store.ts";
import type { IdempotencyKey, StoredChat } from "./model.ts";
import * as chats from "./store/chats.ts";
import { settleAfter500Ms, settleMs } from "./timing.ts";

interface Created {
  chat: StoredChat;
  account: Account;
  /** An earlier request with the same Idempotency-Key has created it. */
  isReplay: boolean;
}

/** One try to create the chat of a key. */
interface Attempt {
  key: IdempotencyKey;
  /** Tells the attempts of one key apart. */
  owner: string;
}

/** Another attempt has the key. */
interface ClaimedBefore {
  earlier: RecordSnapshot;
}

const rounds = 3;

/**
 * Creates a chat, once per key: at Retell, then in the database. A chat that was created without an answer to the
 * client is found again by our ids in Retell's metadata.
 *
 * @throws AGENT_NOT_FOUND; CHAT_CREATION_FAILED, or TIMEOUT without an answer, with `details.outcome: "unknown"` when
 *         it may exist all the same; CHAT_NOT_FOUND when the key's chat is gone; IDEMPOTENCY_KEY_REUSED;
 *         REQUEST_IN_PROGRESS; what `retellFor` throws
 */
export async function create(
  context: CreateContext,
  input: CreateChatInput,
  key: IdempotencyKey | undefined,
): Promise<Created> {
  const { tenant } = context;
  if (!key) return createOnce(context, input, await prepare(tenant, input), undefined);

  const owner = crypto.randomUUID();
  for (let round = 0; round < rounds; round++) {
    const created = await createWithKey(context, input, { key, owner });
    if (!("earlier" in created)) return created;
    const replayed = await replay(context, input, key, created.earlier);
    if (replayed) return replayed;
    await keys.takeOver(tenant, created.earlier, owner);
  }
  throw inProgress(2);
}

/** Claims the key and creates the chat. If that fails, the key is freed, or marked where a chat may exist. */
async function createWithKey(
  context: CreateContext,
  input: CreateChatInput,
  attempt: Attempt,
): Promise<Created | ClaimedBefore> {
  const { tenant } = context;
  const { key, owner } = attempt;
  try {
    const claimed = await claimAndPrepare(tenant, input, attempt);
    if ("earlier" in claimed) return claimed;
    return await createOnce(context, input, claimed.retell, claimed.record);
  } catch (error) {
    // A database that did not answer is not waited for again: the attempt counts as dead when its lease is over.
    if (isUnreachable(error)) throw error;
    if (mayExist(error)) await keys.mark(tenant, key.id, owner, isFinished(error));
    else await keys.release(tenant, key.id, owner);
    throw error;
  }
}

/** Claims a key, and reads what a create needs, side by side. */
async function claimAndPrepare(
  tenant: TenantContext,
  input: CreateChatInput,
  { key, owner }: Attempt,
): Promise<{ record: RecordSnapshot; retell: RetellClient } | ClaimedBefore> {
  try {
    const work = [keys.claim(tenant, key, owner), prepare(tenant, input)] as const;
    // Both end before either is thrown: a failure must not leave a claim behind that nobody knows of.
    await Promise.allSettled(work);
    const record = await work[0];
    if (record.owner !== owner) return { earlier: record };
    return { record, retell: await work[1] };
  } catch (error) {
    // The key may have been claimed without an answer, or be claimed later. Retell was not asked, so nobody need wait
    // for this attempt. Not awaited: Mongo has just kept us waiting. If this fails, the key counts as a dead attempt's.
    if (isUnreachable(error)) keys.cancel(tenant, key.id, owner).catch(() => {});
    throw error;
  }
}

/** Reads what a create needs. If both reads fail, the account's failure is thrown. */
async function prepare(tenant: TenantContext, input: CreateChatInput): Promise<RetellClient> {
  const reads = [retellFor(tenant), chats.hasAgent(tenant, input.agentId)] as const;
  await Promise.allSettled(reads);
  const [retell, isOurs] = await Promise.all(reads);
  if (!isOurs) throw new ApiError("AGENT_NOT_FOUND");
  return retell;
}

/** @param record Of the key, if there is one. */
async function createOnce(
  context: CreateContext,
  input: CreateChatInput,
  retell: RetellClient,
  record: RecordSnapshot | undefined,
): Promise<Created> {
  const { tenant } = context;
  const request = record && keys.requestName(record);
  const created = await createAtRetell(context, retell, input, request);
  tenant.log.fields.chatId = created.chat_id;
  const document = documentOf(tenant, input, created, retell.account, request);
  const chat = await insertOrEndAtRetell(context, retell, document);
  await Promise.all([
    cache.forget([cache.listKey(tenant.subaccountId)], tenant.log),
    // If this fails, a repeat finds the chat by its request.
    record && keys.noteChat(tenant, record._id, chat.chat_id).catch((error) => tenant.log.warn("Key not noted", error)),
  ]);
  return { chat, account: retell.account, isReplay: chat !== document };
}

/** Creates the chat at Retell. Our ids travel in its metadata. */
async function createAtRetell(
  context: CreateContext,
  retell: RetellClient,
  input: CreateChatInput,
  request: string | undefined,
): Promise<RetellChat> {
  const { subaccountId } = context.tenant;
  const { operationId } = input;
  const ids = { operationId, subaccountId, stage: config().STAGE, ...(request ? { request } : {}) };
  const metadata = { ...input.metadata, [reservedKey]: ids };
  const since = new Date();
  context.begun.settlesBy = since.getTime() + settleMs();
  try {
    return await retell.create({ ...input, metadata }, context.deadline.callSignal());
  } catch (cause) {
    if (!(cause instanceof RetellError)) throw cause;
    if (cause.kind !== "unknown") context.begun.settlesBy = Date.now() + settleAfter500Ms;
    if (isRefusal(cause)) {
      const chat = await findDespiteRefusal(context, retell, input, { request, since, refusal: cause });
      if (chat) return chat;
    }
    const details = { outcome: "unknown" };
    if (cause.kind === "failed") throw new RetellError(cause.code, cause.kind, cause.cause, details);
    if (cause.kind !== "unknown") throw cause;
    throw new ApiError("TIMEOUT", { cause, message: "Retell has not answered in time; the chat may exist", details });
  }
}

/**
 * The chat of an earlier attempt with the same key; undefined when that came to nothing, and a new attempt may be made.
 *
 * @throws IDEMPOTENCY_KEY_REUSED; REQUEST_IN_PROGRESS; CHAT_NOT_FOUND when the chat is gone
 */
async function replay(
  context: CreateContext,
  input: CreateChatInput,
  key: IdempotencyKey,
  earlier: RecordSnapshot,
): Promise<Created | undefined> {
  const { tenant } = context;
  if (earlier.hash !== "" && earlier.hash !== key.hash) throw new ApiError("IDEMPOTENCY_KEY_REUSED");
  if (!earlier.chat_id && isRunning(earlier)) throw inProgress(2);

  const retell = await retellFor(tenant);
  if (earlier.chat_id) {
    const chat = await chats.get(tenant, earlier.chat_id);
    if (!chat) throw chatGone();
    return { chat, account: retell.account, isReplay: true };
  }

  const chat = await recoverChat(context, input, earlier, retell);
  if (!chat) return undefined;
  await keys.noteChat(tenant, earlier._id, chat.chat_id);
  await cache.forget([cache.listKey(tenant.subaccountId)], tenant.log);
  return { chat, account: retell.account, isReplay: true };
}

/** Whether Retell has answered, with a 500 or a refusal: it has finished, with or without a chat. */
const isFinished = (error: unknown) => error instanceof RetellError;

/** Whether a failed attempt may have left a chat: at Retell, or in a database that did not answer. */
function mayExist(error: unknown): boolean {
  if (!(error instanceof ApiError)) return true;
  const codes = ["CONNECTION_FAILED", "INTERNAL_ERROR", "CHAT_NOT_FOUND"];
  return error.details?.outcome === "unknown" || codes.includes(error.code);
}
