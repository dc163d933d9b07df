import { config } from "../config.ts";
import { ApiError } from "../errors.ts";
import type { Idempotency } from "../idempotency.ts";
import { isDuplicate, isUnreachable } from "../mongo.ts";
import type { Account } from "../retell/account.ts";
import { asFailure, type NewChat, type RetellClient, RetellError, reservedKey, retellFor } from "../retell/client.ts";
import type { History } from "../retell/schema.ts";
import type { Deadline } from "../route.ts";
import type { Tenant } from "../tenant.ts";
import * as cache from "./cache.ts";
import { isUser, type StoredChat, stored } from "./document.ts";
import { nameOf, type ReadRequest, requests } from "./requests.ts";
import { finishedMs } from "./settle.ts";
import { chats, newChat } from "./store.ts";

/** The chat that is asked for. */
export interface Wish extends NewChat {
  createdBy: string;
  operationId: string;
}

/** Where a chat is created, and until when. */
interface Place {
  tenant: Tenant;
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

/**
 * Creates a chat, once per key: at Retell, then in the database. What was created and not answered is found again by
 * our ids in Retell's metadata.
 *
 * @throws AGENT_NOT_FOUND; CHAT_CREATION_FAILED, or TIMEOUT without an answer, with `details.outcome: "unknown"` when
 *         it may exist all the same; IDEMPOTENCY_KEY_REUSED; REQUEST_IN_PROGRESS; what `retellFor` throws
 */
export async function create(place: Place, wish: Wish, idempotency: Idempotency | undefined): Promise<Created> {
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

async function attempt({ tenant, deadline }: Place, wish: Wish, request: Attempt | undefined): Promise<Created> {
  const { subaccountId } = tenant;
  const retell = await prepare(tenant, wish, request);

  const name = request && nameOf(await request.claimed);
  const { operationId } = wish;
  const ids = { operationId, subaccountId, stage: config().STAGE, ...(name ? { request: name } : {}) };
  const created = await ask(retell, { ...wish, metadata: { ...wish.metadata, [reservedKey]: ids } }, deadline);
  tenant.log.fields.chatId = created.chat_id;
  const chat = documentOf(tenant, wish, created, retell.account, name);
  await keep(tenant, retell, chat, deadline);
  tenant.log.metrics.add("ChatsCreated");
  await Promise.all([
    cache.forget([cache.listEntry(subaccountId)], tenant.log),
    // Not noted, it is found by the chat itself.
    request &&
      requests.done(tenant, request.id, chat.chat_id).catch((error) => tenant.log.warn("Key not noted", error)),
  ]);
  return { chat, account: retell.account, isReplay: false };
}

/** Reads what a create needs, and takes its key, side by side. */
async function prepare(tenant: Tenant, wish: Wish, request: Attempt | undefined): Promise<RetellClient> {
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

async function ask(retell: RetellClient, wish: Wish, deadline: Deadline): Promise<History> {
  try {
    return await retell.create(wish, deadline.call());
  } catch (cause) {
    const details = { outcome: "unknown" };
    if (isFinished(cause)) throw new RetellError(cause.code, cause.failure, cause.cause, details);
    if (!(cause instanceof RetellError) || cause.failure !== "unknown") throw cause;
    throw new ApiError("TIMEOUT", { cause, message: "Retell has not answered in time; the chat may exist", details });
  }
}

/**
 * Stores a chat that Retell has just created. When that fails the chat is ended at Retell, so that nobody pays for a
 * chat that nobody can reach; if Mongo stored it after all, the next read finds it ended. The breaker is not asked:
 * Retell has answered just now, and what is not ended here goes on until the sweep finds it, ten minutes later or more.
 */
async function keep(tenant: Tenant, retell: RetellClient, chat: StoredChat, deadline: Deadline): Promise<void> {
  try {
    await chats.insert(tenant, chat);
  } catch (error) {
    await retell
      .end(chat.chat_id, deadline.answer(), { insists: true })
      .catch((failure) => tenant.log.error("A chat that was not stored could not be ended at Retell", failure));
    throw error;
  }
}

function documentOf(
  { subaccountId }: Tenant,
  wish: Wish,
  created: History,
  account: Account,
  request: string | undefined,
): StoredChat {
  return newChat(
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
    (created.message_with_tool_calls ?? []).map((entry) => stored(entry)),
    request,
  );
}

/**
 * What an earlier attempt with the same key has come to; undefined when it has come to nothing, and a new one may
 * be made.
 */
async function outcomeOf(
  { tenant, deadline }: Place,
  wish: Wish,
  idempotency: Idempotency,
  request: ReadRequest,
): Promise<Created | undefined> {
  if (request.hash !== idempotency.hash) throw new ApiError("IDEMPOTENCY_KEY_REUSED");
  const isRunning = request.state === "running" && ageOf(request) < config().TURN_LEASE_SECONDS * 1_000;
  if (!request.chat_id && isRunning) throw inProgress(2);

  const retell = await retellFor(tenant);
  const replay = (chat: StoredChat): Created => ({ chat, account: retell.account, isReplay: true });
  if (request.chat_id) {
    const chat = await chats.get(tenant, request.chat_id);
    return chat ? replay(chat) : undefined;
  }

  const chat = await findAgain({ tenant, deadline }, wish, request, retell);
  if (!chat) return undefined;
  await requests.done(tenant, request._id, chat.chat_id);
  await cache.forget([cache.listEntry(tenant.subaccountId)], tenant.log);
  return replay(chat);
}

/**
 * The chat of an attempt that died, or that Retell did not answer. Either the attempt stored it and did not note it, or
 * only Retell knows of it, and it is stored now. Undefined when there is none, or one that nobody can use.
 */
async function findAgain(
  { tenant, deadline }: Place,
  wish: Wish,
  request: ReadRequest,
  retell: RetellClient,
): Promise<StoredChat | undefined> {
  const name = nameOf(request);
  const storedChat = await chats.byRequest(tenant, name);
  // Whoever has spoken in it was told of it: it is what came of the key, over or not. One that is over without a word
  // may be one that `keep` has ended, and is of no use to whoever asks again.
  if (storedChat?.messages.some(isUser)) return storedChat;

  const chatId = storedChat?.chat_id ?? (await retell.findByRequest(wish.agentId, name, request.at, deadline.call()));
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
  if (history.chat_status !== "ongoing") {
    // Nothing came of it, and the key is free for another.
    await chats.forgetRequest(tenant, chatId);
    return undefined;
  }
  return storedChat ?? adopt(tenant, documentOf(tenant, wish, history, retell.account, name), name);
}

/** Stores a chat that only Retell knew of. Repeats at the same time find the same one: the first stores it for all. */
async function adopt(tenant: Tenant, chat: StoredChat, request: string): Promise<StoredChat> {
  try {
    await chats.insert(tenant, chat);
    tenant.log.metrics.add("ChatsCreated");
    return chat;
  } catch (error) {
    const theirs = isDuplicate(error) ? await chats.byRequest(tenant, request) : null;
    if (!theirs) throw error;
    return theirs;
  }
}

const ageOf = ({ at, now }: ReadRequest) => now.getTime() - at.getTime();

/** Retell has failed with a 500: it has finished, with or without a chat. */
const isFinished = (error: unknown): error is RetellError => error instanceof RetellError && error.failure === "failed";

/** Whether a failed attempt may have left a chat: at Retell, or in a database that did not answer. */
function mayExist(error: unknown): boolean {
  if (!(error instanceof ApiError)) return true;
  return error.details?.outcome === "unknown" || ["CONNECTION_FAILED", "INTERNAL_ERROR"].includes(error.code);
}

function inProgress(retryAfter: number): ApiError {
  return new ApiError("REQUEST_IN_PROGRESS", { retryAfter });
}
