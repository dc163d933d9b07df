import type { TenantContext } from "../access/tenant.ts";
import { config } from "../platform/config.ts";
import type { Deadline } from "../platform/deadline.ts";
import { ApiError } from "../platform/errors.ts";
import { isDuplicate, isUnreachable } from "../platform/mongo.ts";
import type { Account } from "../retell/account.ts";
import {
  asFailure,
  type RetellChatRequest,
  type RetellClient,
  RetellError,
  reservedKey,
  retellFor,
} from "../retell/client.ts";
import type { RetellChat } from "../retell/schema.ts";
import * as cache from "./cache.ts";
import { nameOf, type ReadRequest, requests } from "./create-keys.ts";
import { type IdempotencyKey, type StoredChat, toStoredMessage } from "./model.ts";
import { finishedMs } from "./settle.ts";
import * as chats from "./store/chats.ts";
import { newChatDocument } from "./store/chats.ts";
import * as tombstones from "./store/tombstones.ts";

/** The chat that is asked for. */
export interface CreateChatInput extends RetellChatRequest {
  createdBy: string;
  operationId: string;
}

/** Where a chat is created, and until when. */
interface Place {
  tenant: TenantContext;
  deadline: Deadline;
}

interface Created {
  chat: StoredChat;
  account: Account;
  /** An earlier request with the same Idempotency-Key has created it. */
  isReplay: boolean;
}

/** An attempt under a key; `claimed` rejects with `Earlier` when another attempt has it. */
interface Attempt {
  id: string;
  owner: string;
  claimed: Promise<ReadRequest>;
}

class Earlier extends Error {
  readonly request: ReadRequest;
  constructor(request: ReadRequest) {
    super("Another attempt has this key");
    this.request = request;
  }
}

const rounds = 3;
/** When the sweep ends at Retell what could not be ended here. */
const buriedMs = 60_000;

/**
 * Creates a chat, once per key: at Retell, then in the database. What was created and not answered is found again by
 * our ids in Retell's metadata.
 *
 * @throws AGENT_NOT_FOUND; CHAT_CREATION_FAILED, or TIMEOUT without an answer, with `details.outcome: "unknown"` when
 *         it may exist all the same; CHAT_NOT_FOUND when the key's chat is gone; IDEMPOTENCY_KEY_REUSED;
 *         REQUEST_IN_PROGRESS; what `retellFor` throws
 */
export async function create(
  place: Place,
  wish: CreateChatInput,
  idempotency: IdempotencyKey | undefined,
): Promise<Created> {
  if (!idempotency) return attempt(place, wish, undefined);

  const { tenant } = place;
  const owner = crypto.randomUUID();
  for (let round = 0; round < rounds; round++) {
    const claimed = requests.claim(tenant, idempotency, owner).then((request) => {
      if (request.owner !== owner) throw new Earlier(request);
      return request;
    });
    try {
      return await attempt(place, wish, { id: idempotency.id, owner, claimed });
    } catch (error) {
      if (!(error instanceof Earlier)) {
        // A database that did not answer is not waited for again: the attempt counts as dead when its lease is over.
        if (isUnreachable(error)) throw error;
        if (!mayExist(error)) await requests.release(tenant, idempotency.id, owner);
        else await requests.mark(tenant, idempotency.id, owner, isFinished(error));
        throw error;
      }
      const earlier = await outcomeOf(place, wish, idempotency, error.request);
      if (earlier) return earlier;
      await requests.takeOver(tenant, error.request, owner);
    }
  }
  throw inProgress(2);
}

async function attempt(place: Place, wish: CreateChatInput, request: Attempt | undefined): Promise<Created> {
  const { tenant } = place;
  const { subaccountId } = tenant;
  const retell = await prepare(tenant, wish, request);

  const name = request && nameOf(await request.claimed);
  const created = await ask(place, retell, wish, name);
  tenant.log.fields.chatId = created.chat_id;
  const made = documentOf(tenant, wish, created, retell.account, name);
  const chat = await keep(place, retell, made);
  await Promise.all([
    cache.forget([cache.listKey(subaccountId)], tenant.log),
    // Not noted, it is found by the chat itself.
    request &&
      requests.done(tenant, request.id, chat.chat_id).catch((error) => tenant.log.warn("Key not noted", error)),
  ]);
  return { chat, account: retell.account, isReplay: chat !== made };
}

/** Reads what a create needs, and takes its key, side by side. */
async function prepare(
  tenant: TenantContext,
  wish: CreateChatInput,
  request: Attempt | undefined,
): Promise<RetellClient> {
  try {
    const [retell, isOurs] = await all([retellFor(tenant), chats.hasAgent(tenant, wish.agentId), request?.claimed]);
    if (!isOurs) throw new ApiError("AGENT_NOT_FOUND");
    return retell;
  } catch (error) {
    // The key may have been taken without an answer, or be taken later. Retell was not asked, so nobody need wait for it. Not awaited:
    // Mongo has just kept us waiting, and where this comes to nothing the key is looked into like a dead attempt's.
    if (request && isUnreachable(error)) requests.cancel(tenant, request.id, request.owner).catch(() => {});
    throw error;
  }
}

/** All of them, to their end: what fails first must not leave the claim of a key behind unseen. */
async function all<T extends unknown[]>(work: [...{ [I in keyof T]: Promise<T[I]> | T[I] }]): Promise<T> {
  await Promise.allSettled(work);
  const earlier = work.at(-1);
  if (earlier instanceof Promise) await earlier;
  return (await Promise.all(work)) as T;
}

async function ask(
  { tenant, deadline }: Place,
  retell: RetellClient,
  wish: CreateChatInput,
  request: string | undefined,
): Promise<RetellChat> {
  const { subaccountId } = tenant;
  const { operationId } = wish;
  const ids = { operationId, subaccountId, stage: config().STAGE, ...(request ? { request } : {}) };
  const since = new Date();
  try {
    return await retell.create({ ...wish, metadata: { ...wish.metadata, [reservedKey]: ids } }, deadline.call());
  } catch (cause) {
    if (!(cause instanceof RetellError)) throw cause;
    if (isRefused(cause)) {
      const chat = await createdAllTheSame({ tenant, deadline }, retell, wish, { request, since, refusal: cause });
      if (chat) return chat;
    }
    const details = { outcome: "unknown" };
    if (cause.failure === "failed") throw new RetellError(cause.code, cause.failure, cause.cause, details);
    if (cause.failure !== "unknown") throw cause;
    throw new ApiError("TIMEOUT", { cause, message: "Retell has not answered in time; the chat may exist", details });
  }
}

/** Retell itself has answered with a 4xx. */
const isRefused = ({ failure }: RetellError) => ["account", "limited", "refused"].includes(failure);

/**
 * The chat of a create that Retell has refused: a 4xx does not prove that there is none. Its list is read once, and
 * decides.
 *
 * @throws The refusal, with an unknown outcome, when Retell cannot be read.
 */
async function createdAllTheSame(
  { tenant, deadline }: Place,
  retell: RetellClient,
  { agentId, operationId }: CreateChatInput,
  { request, since, refusal }: { request: string | undefined; since: Date; refusal: RetellError },
): Promise<RetellChat | undefined> {
  const insists = { insists: true };
  const by = request ? { request } : { subaccountId: tenant.subaccountId, operationId };
  try {
    const chatId = await retell.findCreated(agentId, by, since, deadline.answer(), insists);
    if (!chatId) return undefined;
    // A client may give several requests one operationId: the chat of another create is not this one's.
    if (!request && (await chats.existing(tenant, [chatId])).has(chatId)) return undefined;
    const history = await retell.retrieve(chatId, deadline.answer(), insists);
    return history.chat_status === "ongoing" ? history : undefined;
  } catch (error) {
    if (!(error instanceof RetellError)) throw error;
    tenant.log.warn("Not known whether a refused create has left a chat", error);
    throw new RetellError(refusal.code, refusal.failure, refusal, { outcome: "unknown" });
  }
}

/**
 * Stores a chat that Retell has just created. When that fails the chat is ended at Retell, unless a repeat with the key may
 * find it: so nobody pays for a chat that nobody can reach. The breaker is not asked: Retell has answered just now.
 *
 * @returns The chat of this create: another attempt's, where that one was faster.
 */
async function keep(place: Place, retell: RetellClient, chat: StoredChat): Promise<StoredChat> {
  const { tenant, deadline } = place;
  try {
    return await insert(tenant, chat);
  } catch (error) {
    if (isDuplicate(error)) return inItsPlace(place, retell, chat, error);
    // Past its time an attempt does not know whether a repeat has taken the chat over: the sweep finds out.
    if (deadline.leftMs <= 0) throw error;
    if (chat.internal?.request) {
      // It may be stored. The key's repeat finds it, here or at Retell; without a repeat the sweep does.
      if (isUnreachable(error)) throw error;
      await tombstones.insert(tenant, chat, "unstored", buriedMs).catch(() => {});
    }
    await endAtRetell(place, retell, chat.chat_id);
    throw error;
  }
}

/** Stores a chat of which only Retell knew. Repeats at the same time find the same one: the first stores it for all. */
async function storeRecoveredChat(place: Place, retell: RetellClient, chat: StoredChat): Promise<StoredChat> {
  try {
    return await insert(place.tenant, chat);
  } catch (error) {
    if (isDuplicate(error)) return inItsPlace(place, retell, chat, error);
    throw error;
  }
}

async function insert(tenant: TenantContext, chat: StoredChat): Promise<StoredChat> {
  await chats.insert(tenant, chat);
  tenant.log.metrics.add("ChatsCreated");
  return chat;
}

/**
 * What stands in the way of a chat that could not be stored. Before that is known nothing is ended: a repeat may have
 * handed out this very chat.
 *
 * @returns The chat that stands for the create: this one, stored by another attempt, or the one of another attempt.
 * @throws CHAT_NOT_FOUND when the chat was given up.
 */
async function inItsPlace(place: Place, retell: RetellClient, chat: StoredChat, error: unknown): Promise<StoredChat> {
  const { tenant } = place;
  const request = chat.internal?.request;
  const theirs =
    (await chats.get(tenant, chat.chat_id)) ?? (request ? await chats.findByRequest(tenant, request) : null);
  if (theirs && theirs.chat_id !== chat.chat_id && (await tombstones.insert(tenant, chat, "unstored", buriedMs))) {
    await endAtRetell(place, retell, chat.chat_id);
  }
  if (theirs) return theirs;
  if (await tombstones.get(tenant, chat.chat_id)) throw gone(error);
  throw error;
}

async function endAtRetell({ tenant, deadline }: Place, retell: RetellClient, chatId: string): Promise<void> {
  await retell
    .end(chatId, deadline.answer(), { insists: true })
    .catch((failure) => tenant.log.error("A chat that was not stored could not be ended at Retell", failure));
}

function documentOf(
  { subaccountId }: TenantContext,
  wish: CreateChatInput,
  created: RetellChat,
  account: Account,
  request: string | undefined,
): StoredChat {
  return newChatDocument(
    {
      chat_id: created.chat_id,
      agent_id: created.agent_id ?? wish.agentId,
      chat_status: created.chat_status,
      start_timestamp: created.start_timestamp ?? Date.now(),
      metadata: wish.metadata,
      retell_llm_dynamic_variables: { ...wish.variables, chat_id: created.chat_id },
      subaccountId,
      createdBy: wish.createdBy,
      operationId: wish.operationId,
      retellAccountId: account.id,
    },
    (created.message_with_tool_calls ?? []).map((entry) => toStoredMessage(entry)),
    request,
  );
}

/**
 * What an earlier attempt with the same key has come to; undefined when it has come to nothing, and a new one may
 * be made.
 */
async function outcomeOf(
  { tenant, deadline }: Place,
  wish: CreateChatInput,
  idempotency: IdempotencyKey,
  request: ReadRequest,
): Promise<Created | undefined> {
  if (request.hash !== idempotency.hash) throw new ApiError("IDEMPOTENCY_KEY_REUSED");
  const isRunning = request.state === "running" && ageOf(request) < config().TURN_LEASE_SECONDS * 1_000;
  if (!request.chat_id && isRunning) throw inProgress(2);

  const retell = await retellFor(tenant);
  const replay = (chat: StoredChat): Created => ({ chat, account: retell.account, isReplay: true });
  if (request.chat_id) {
    const chat = await chats.get(tenant, request.chat_id);
    if (!chat) throw gone();
    return replay(chat);
  }

  const chat = await findAgain({ tenant, deadline }, wish, request, retell);
  if (!chat) return undefined;
  await requests.done(tenant, request._id, chat.chat_id);
  await cache.forget([cache.listKey(tenant.subaccountId)], tenant.log);
  return replay(chat);
}

/**
 * The chat of an attempt that died, or that Retell did not answer. Either the attempt stored it and did not note it, or
 * only Retell knows of it, and it is stored now. Undefined when there is none, or one that is over and was never stored:
 * nobody was told of it.
 *
 * @throws CHAT_NOT_FOUND when the chat was given up.
 */
async function findAgain(
  { tenant, deadline }: Place,
  wish: CreateChatInput,
  request: ReadRequest,
  retell: RetellClient,
): Promise<StoredChat | undefined> {
  const name = nameOf(request);
  const storedChat = await chats.findByRequest(tenant, name);
  // It may have been handed out: it is what came of the key, over or not. Of one that `keep` has ended the name is gone.
  if (storedChat) return storedChat;

  const chatId = await retell.findCreated(wish.agentId, { request: name }, request.at, deadline.call());
  if (!chatId) {
    const ageMs = ageOf(request);
    const isPast = request.finishedAt
      ? request.now.getTime() - request.finishedAt.getTime() > finishedMs
      : ageMs >= config().TURN_SETTLE_SECONDS * 1_000;
    if (!isPast) throw inProgress(Math.min(60, Math.ceil(ageMs / 4_000)));
    return undefined;
  }
  const history = await retell.retrieve(chatId, deadline.answer()).catch((error) => {
    throw new RetellError("CHAT_CREATION_FAILED", asFailure(error).failure, error);
  });
  if (history.chat_status === "ongoing") {
    return storeRecoveredChat({ tenant, deadline }, retell, documentOf(tenant, wish, history, retell.account, name));
  }
  const tombstone = await tombstones.get(tenant, chatId);
  if (tombstone && tombstone.why !== "unstored") throw gone();
  return undefined;
}

const ageOf = ({ at, now }: ReadRequest) => now.getTime() - at.getTime();

/** Retell has answered, with a 500 or a refusal: it has finished, with or without a chat. */
const isFinished = (error: unknown) => error instanceof RetellError;

/** Whether a failed attempt may have left a chat: at Retell, or in a database that did not answer. */
function mayExist(error: unknown): boolean {
  if (!(error instanceof ApiError)) return true;
  const codes = ["CONNECTION_FAILED", "INTERNAL_ERROR", "CHAT_NOT_FOUND"];
  return error.details?.outcome === "unknown" || codes.includes(error.code);
}

/** The chat that came of a key is no more. It came of it all the same: a repeat makes no other. */
function gone(cause?: unknown): ApiError {
  return new ApiError("CHAT_NOT_FOUND", { cause, message: "The chat that was created with this key is gone" });
}

function inProgress(retryAfter: number): ApiError {
  return new ApiError("REQUEST_IN_PROGRESS", { retryAfter });
}
