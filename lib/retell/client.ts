import type Retell from "retell-sdk";
import type { APIError } from "retell-sdk";
import type { ChatListParams } from "retell-sdk/resources/chat";
import * as z from "zod";
import type { TenantContext } from "../access/tenant.ts";
import { config } from "../platform/config.ts";
import { type ErrorCode, UnexpectedAnswer } from "../platform/errors.ts";
import { type Account, accountOf, reloadAccount } from "./account.ts";
import type { CallTarget } from "./breaker.ts";
import { classify, countsAsOutage, RetellError, retryAfterOf } from "./errors.ts";
import { dataOf } from "./lenient.ts";
import { type RetellChat, type RetellMessage, readCompletion, readHistory, readPage } from "./schema.ts";
import { clientFor, jsonOf, requestOptions } from "./sdk.ts";

/** Our ids travel in Retell's metadata under this key. It is removed from every answer to a client. */
export const reservedKey = "_scalai_chat";

const ReservedMetadata = z.object({
  [reservedKey]: z.object({
    subaccountId: z.string(),
    /** Absent in chats that were created before stages were told apart. */
    stage: z.string().optional(),
    request: z.string().optional(),
    operationId: z.guid().optional().catch(undefined),
  }),
});

interface CallOptions {
  /** The call is made even while the account's circuit is open. */
  bypassBreaker: boolean;
}

export interface RetellChatRequest {
  agentId: string;
  agentVersion: number | string | undefined;
  metadata: Record<string, unknown>;
  variables: Record<string, string>;
}

/** What identifies a create's chat at Retell: the id of its Idempotency-Key, or without a key its operationId. */
type CreateId = { request: string } | { subaccountId: string; operationId: string };

/** A chat at Retell that one of our creates made, with what its metadata says of that create. */
export interface CreatedChat {
  chatId: string;
  operationId: string | undefined;
  /** The name of the create, if it had an Idempotency-Key. */
  request: string | undefined;
}

/** Two times, epoch ms. */
interface TimeRange {
  from: number;
  to: number;
}

/**
 * Retell for a subaccount.
 *
 * @throws What `accountOf` throws.
 */
export async function retellFor(tenant: TenantContext): Promise<RetellClient> {
  return new RetellClient(tenant, await accountOf(tenant));
}

/**
 * Retell with one subaccount's key. No call is retried here, and each ends by its signal. While the account's circuit is
 * open, a call is not made: it fails as `unsent`, with retryAfter. Every method throws RetellError.
 */
export class RetellClient {
  readonly #tenant: TenantContext;
  #account: Account;

  constructor(tenant: TenantContext, account: Account) {
    this.#tenant = tenant;
    this.#account = account;
    tenant.log.fields.retellAccountId = account.id;
  }

  /** Another one than before after Retell has refused a key that was replaced meanwhile. */
  get account(): Account {
    return this.#account;
  }

  create(chat: RetellChatRequest, signal: AbortSignal): Promise<RetellChat> {
    return this.#call("CHAT_CREATION_FAILED", { isRead: false, chatId: undefined }, async (retell) => {
      const body = {
        agent_id: chat.agentId,
        ...(chat.agentVersion === undefined ? {} : { agent_version: chat.agentVersion }),
        metadata: chat.metadata,
        retell_llm_dynamic_variables: chat.variables,
      };
      return this.#read(readHistory(await jsonOf(retell.chat.create(body, requestOptions(signal)))));
    });
  }

  /** Sends one user message. The answer holds the turn's new messages, without the user's own. */
  reply(chatId: string, content: string, signal: AbortSignal): Promise<RetellMessage[]> {
    return this.#call("MESSAGE_SEND_FAILED", { isRead: false, chatId }, async (retell) => {
      const body = { chat_id: chatId, content };
      const answer = await jsonOf(retell.chat.createChatCompletion(body, requestOptions(signal)));
      return this.#read(readCompletion(answer)).messages;
    });
  }

  /** Retell's answer to an end is empty: what became of the chat must be read afterwards. */
  end(chatId: string, signal: AbortSignal, options?: CallOptions): Promise<void> {
    const send = async (retell: Retell) => {
      const answer = await retell.chat.end(chatId, requestOptions(signal)).asResponse();
      await answer.body?.cancel();
      // The SDK accepts any 2xx, such as a proxy's web page.
      if (answer.status !== 204) throw new UnexpectedAnswer(`Retell answered an end with ${answer.status}`);
    };
    return this.#call("CHAT_END_FAILED", { isRead: false, chatId }, send, options);
  }

  /** Deletes the chat at Retell, with all that was said in it. */
  delete(chatId: string, signal: AbortSignal): Promise<void> {
    const send = async (retell: Retell) => {
      const answer = await retell.chat.delete(chatId, requestOptions(signal)).asResponse();
      await answer.body?.cancel();
      if (answer.status !== 204) throw new UnexpectedAnswer(`Retell answered a deletion with ${answer.status}`);
    };
    // The code reaches no client: a chat is deleted here, whatever Retell says.
    return this.#call("CHAT_END_FAILED", { isRead: false, chatId }, send);
  }

  retrieve(chatId: string, signal: AbortSignal, options?: CallOptions): Promise<RetellChat> {
    const read = async (retell: Retell) => {
      const history = this.#read(readHistory(await jsonOf(retell.chat.retrieve(chatId, requestOptions(signal)))));
      if (history.chat_id !== chatId) throw new UnexpectedAnswer("Retell answered with another chat");
      return history;
    };
    return this.#call("CHAT_RETRIEVE_FAILED", { isRead: true, chatId }, read, options);
  }

  /**
   * The chat whose metadata names this create, among those begun since; undefined when there is none. Another stage's
   * chats are left out: on a copy of its data the same user may use the same key.
   */
  findCreated(
    agentId: string,
    by: CreateId,
    since: Date,
    signal: AbortSignal,
    options?: CallOptions,
  ): Promise<string | undefined> {
    const criteria = {
      agent: [{ agent_id: agentId }],
      // The clocks of Retell and ours may differ by a minute.
      start_timestamp: { type: "number" as const, op: "ge" as const, value: since.getTime() - 60_000 },
    };
    const find = async (retell: Retell) => {
      const { STAGE } = config();
      for await (const { chat_id, ours } of this.#list(retell, criteria, signal)) {
        if (ours && isCreatedBy(ours, by) && (ours.stage ?? STAGE) === STAGE) return chat_id;
      }
      return undefined;
    };
    return this.#call("CHAT_CREATION_FAILED", { isRead: true, chatId: undefined }, find, options);
  }

  /**
   * The chats, begun between two times, that carry our reserved key for this subaccount and stage. Another stage's chats
   * are left out: our data may be a copy of that stage's, where they are known.
   */
  createdIn(
    subaccountId: string,
    { from, to, status }: TimeRange & { status: "ongoing" | "any" },
    signal: AbortSignal,
  ): Promise<CreatedChat[]> {
    const criteria = {
      start_timestamp: { type: "range" as const, op: "bt" as const, value: [from, to] },
      ...(status === "any" ? {} : { chat_status: { type: "enum" as const, op: "in" as const, value: [status] } }),
    };
    return this.#call("CHAT_RETRIEVE_FAILED", { isRead: true, chatId: undefined }, async (retell) => {
      const chats: CreatedChat[] = [];
      for await (const { chat_id, ours } of this.#list(retell, criteria, signal)) {
        if (ours?.subaccountId !== subaccountId || ours.stage !== config().STAGE) continue;
        chats.push({ chatId: chat_id, operationId: ours.operationId, request: ours.request });
      }
      return chats;
    });
  }

  async #call<T>(
    code: ErrorCode,
    target: CallTarget,
    send: (retell: Retell) => Promise<T>,
    { bypassBreaker }: CallOptions = { bypassBreaker: false },
  ): Promise<T> {
    const { log } = this.#tenant;
    const { sdk, breaker } = clientFor(this.#account);
    const refusal = bypassBreaker ? undefined : breaker.refusal(target);
    if (refusal) {
      log.fields.retellCircuitOpen = refusal.reason;
      throw this.#counted(new RetellError(code, "unsent", refusal));
    }
    try {
      const answer = await log.time("retell", send(sdk));
      breaker.answered();
      return answer;
    } catch (error) {
      const failure = classify(error);
      if (failure === "limited") breaker.limited(retryAfterOf(error));
      else if (countsAsOutage(failure, error)) breaker.failed(target);
      else breaker.answered();
      // The key may have been replaced since it was cached. A call with a refused key had no effect, so it can be repeated.
      if (failure === "account" && (error as APIError).status === 401 && (await this.#reload())) {
        return this.#call(code, target, send, { bypassBreaker });
      }
      throw this.#counted(new RetellError(code, failure, error));
    }
  }

  /** Counts a failure of Retell: neither a refusal of what was asked, nor one of this tenant's account. */
  #counted(error: RetellError): RetellError {
    if (error.kind !== "refused" && !error.tenantCause) this.#tenant.log.metrics.add("RetellFailures");
    return error;
  }

  /** Whether the stored key is another one than the one that Retell has refused. */
  async #reload(): Promise<boolean> {
    const account = await reloadAccount(this.#tenant);
    if (account.apiKey === this.#account.apiKey) return false;
    this.#account = account;
    return true;
  }

  #read<T>(result: Parameters<typeof dataOf<T>>[0]): T {
    return dataOf(result, this.#tenant.log);
  }

  /** All pages of a list. Retell cannot filter by metadata, so callers filter. */
  async *#list(retell: Retell, filter_criteria: ChatListParams["filter_criteria"], signal: AbortSignal) {
    let next: { pagination_key?: string; skip?: number } | undefined = {};
    for (let seen = 0; next; ) {
      const query: ChatListParams = { filter_criteria, limit: 1_000, ...next };
      const { items, has_more, pagination_key } = this.#read(
        readPage(await jsonOf(retell.chat.list(query, requestOptions(signal)))),
      );
      for (const { chat_id, metadata } of items) {
        yield { chat_id, ours: ReservedMetadata.safeParse(metadata).data?.[reservedKey] };
      }
      seen += items.length;
      if (pagination_key && pagination_key !== next.pagination_key && has_more !== false) next = { pagination_key };
      else next = has_more && items.length > 0 ? { skip: seen } : undefined; // more chats, but no key of the next page
    }
  }
}

function isCreatedBy(ours: z.infer<typeof ReservedMetadata>[typeof reservedKey], by: CreateId): boolean {
  if ("request" in by) return ours.request === by.request;
  const { subaccountId, operationId } = by;
  return ours.request === undefined && ours.operationId === operationId && ours.subaccountId === subaccountId;
}
