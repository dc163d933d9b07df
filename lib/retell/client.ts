import { createHash } from "node:crypto";
import Retell, { APIError, type APIPromise } from "retell-sdk";
import type { ChatListParams } from "retell-sdk/resources/chat";
import * as z from "zod";
import type { TenantContext } from "../access/tenant.ts";
import { config } from "../platform/config.ts";
import { ApiError, type ErrorCode, UnexpectedAnswer } from "../platform/errors.ts";
import { HttpClient, wasNotSent } from "../platform/http.ts";
import { parseExactly } from "../platform/json.ts";
import { Lru } from "../platform/lru.ts";
import { readRetryAfter } from "../platform/time.ts";
import { type Account, accountOf, reloadAccount } from "./account.ts";
import { type CallTarget, CircuitBreaker, CircuitOpen } from "./breaker.ts";
import { dataOf } from "./lenient.ts";
import { type RetellChat, type RetellMessage, readCompletion, readHistory, readPage } from "./schema.ts";

/** A failed call as a value, for callers that go on without it. Anything else is not theirs to handle. */
export function asFailure(error: unknown): RetellError {
  if (error instanceof RetellError) return error;
  throw error;
}

/** Our ids travel in Retell's metadata under this key. It is stripped on every way out. */
export const reservedKey = "_scalai_chat";

const ReservedMetadata = z.object({
  [reservedKey]: z.object({
    subaccountId: z.string(),
    /** Absent in what was created before stages were told apart. */
    stage: z.string().optional(),
    request: z.string().optional(),
    operationId: z.guid().optional().catch(undefined),
  }),
});

/**
 * What a failed call means for what was asked:
 * - `account`: Retell refuses our tenant's account (401, 402, 403)
 * - `limited`: 429
 * - `refused`: another 4xx of Retell's own; the chat's state is the likely reason
 * - `unsent`: no connection was made, or the breaker is open; nothing was done
 * - `failed`: 500; Retell has finished, with or without effect
 * - `unknown`: no answer, half of one, an unreadable one, or one of a proxy between; it may still be done
 *
 * `account`, `limited` and `refused` are Retell's last word on the request. They do not prove that it had no effect:
 * only the chat's history does.
 */
export type Failure = "account" | "limited" | "refused" | "unsent" | "failed" | "unknown";

/** A call to Retell that failed, by its step's code. Classified by status and class alone: Retell has no codes. */
export class RetellError extends ApiError {
  override readonly name = "RetellError";
  readonly failure: Failure;
  /** The next call of the account would be refused as well. */
  readonly isOfAccount: boolean;

  /** @param cause What was thrown, or a RetellError that is told under another step's code. */
  constructor(code: ErrorCode, failure: Failure, cause: unknown, details?: Record<string, unknown>) {
    const known = cause instanceof CircuitOpen || cause instanceof RetellError ? cause.retryAfter : undefined;
    const seconds = failure === "limited" ? (known ?? retryAfter(cause)) : known;
    super(code, { cause, ...(details ? { details } : {}), ...(seconds === undefined ? {} : { retryAfter: seconds }) });
    this.failure = failure;
    const from = cause instanceof RetellError ? cause : undefined;
    const isHeldBack = cause instanceof CircuitOpen;
    this.isOfAccount = failure === "limited" || failure === "account" || isHeldBack || from?.isOfAccount === true;
  }
}

interface CallOptions {
  /** The call is made even while the account's breaker is open. */
  insists: boolean;
}

export interface RetellChatRequest {
  agentId: string;
  agentVersion: number | string | undefined;
  metadata: Record<string, unknown>;
  variables: Record<string, string>;
}

/** By what a create of ours finds its chat at Retell again: its key's name, or without a key its operationId. */
type CreateId = { request: string } | { subaccountId: string; operationId: string };

/** A chat at Retell that came of a create of ours, and that create's operationId. */
interface CreatedChat {
  chatId: string;
  operationId: string | undefined;
}

/**
 * Retell, with one subaccount's key. No call is repeated behind the caller's back, and each ends by its signal. While
 * the account's breaker is open a call is not made: it fails as `unsent`, with retryAfter.
 */
export interface RetellClient {
  account: Account;
  create(chat: RetellChatRequest, signal: AbortSignal): Promise<RetellChat>;
  /** Sends one user message. The answer holds the new messages of this turn alone, the user's own not among them. */
  reply(chatId: string, content: string, signal: AbortSignal): Promise<RetellMessage[]>;
  /** Answers nothing: what became of the chat is read afterwards. */
  end(chatId: string, signal: AbortSignal, options?: CallOptions): Promise<void>;
  retrieve(chatId: string, signal: AbortSignal, options?: CallOptions): Promise<RetellChat>;
  /**
   * The chat whose metadata names a create of ours, among those begun since; undefined when there is none. Another
   * stage's is none: on a copy of its data the same user may use the same key, and would write into its chat.
   */
  findCreated(
    agentId: string,
    by: CreateId,
    since: Date,
    signal: AbortSignal,
    options?: CallOptions,
  ): Promise<string | undefined>;
  /**
   * The ongoing chats, begun between two times (epoch ms), that carry our reserved key for this subaccount and stage.
   * Of another stage's, whose data may be where ours was copied from, we cannot say that nobody has them.
   */
  ongoingOf(subaccountId: string, begun: { from: number; to: number }, signal: AbortSignal): Promise<CreatedChat[]>;
}

/**
 * Retell for a subaccount.
 *
 * @throws What `accountOf` throws.
 */
export async function retellFor(tenant: TenantContext): Promise<RetellClient> {
  let account = await accountOf(tenant);
  tenant.log.fields.retellAccountId = account.id;

  async function call<T>(
    code: ErrorCode,
    subject: CallTarget,
    fetchOnce: (retell: Retell) => Promise<T>,
    { insists }: CallOptions = { insists: false },
  ): Promise<T> {
    const { sdk, breaker } = clientFor(account);
    const refusal = insists ? undefined : breaker.refusal(subject);
    if (refusal) {
      tenant.log.fields.retellCircuitOpen = refusal.reason;
      tenant.log.metrics.add("RetellFailures");
      throw new RetellError(code, "unsent", refusal);
    }
    try {
      const answer = await tenant.log.time("retell", fetchOnce(sdk));
      breaker.answered();
      return answer;
    } catch (error) {
      const failure = classify(error);
      if (failure === "limited") breaker.limited(retryAfter(error));
      else if (countsAsOutage(failure, error)) breaker.failed(subject);
      else breaker.answered();
      // The key may have been changed since it was cached. Retell knows no account by a refused key: asking again is safe.
      if (failure === "account" && (error as APIError).status === 401) {
        const fresh = await reloadAccount(tenant);
        if (fresh.apiKey !== account.apiKey) {
          account = fresh;
          return call(code, subject, fetchOnce, { insists });
        }
      }
      if (failure !== "refused") tenant.log.metrics.add("RetellFailures");
      throw new RetellError(code, failure, error);
    }
  }

  /** Retell filters by no metadata, so what the criteria let through is looked at here. Clocks may differ by a minute. */
  async function* pages(retell: Retell, filter_criteria: ChatListParams["filter_criteria"], signal: AbortSignal) {
    let place: { pagination_key?: string; skip?: number } | undefined = {};
    for (let seen = 0; place; ) {
      const answer = await jsonOf(
        retell.chat.list({ filter_criteria, limit: 1_000, ...place }, requestOptions(signal)),
      );
      const { items, has_more, pagination_key } = dataOf(readPage(answer), tenant.log);
      for (const { chat_id, metadata } of items)
        yield { chat_id, ours: ReservedMetadata.safeParse(metadata).data?.[reservedKey] };
      seen += items.length;
      if (pagination_key && pagination_key !== place.pagination_key && has_more !== false) place = { pagination_key };
      else place = has_more && items.length > 0 ? { skip: seen } : undefined; // more, and no key to it
    }
  }

  return {
    get account() {
      return account; // another one after a key was refused
    },
    create: ({ agentId, agentVersion, metadata, variables }, signal) =>
      call("CHAT_CREATION_FAILED", { isRead: false, chatId: undefined }, async (retell) => {
        const asked = {
          agent_id: agentId,
          ...(agentVersion === undefined ? {} : { agent_version: agentVersion }),
          metadata,
          retell_llm_dynamic_variables: variables,
        };
        return dataOf(readHistory(await jsonOf(retell.chat.create(asked, requestOptions(signal)))), tenant.log);
      }),
    reply: (chatId, content, signal) =>
      call("MESSAGE_SEND_FAILED", { isRead: false, chatId }, async (retell) => {
        const answer = await jsonOf(
          retell.chat.createChatCompletion({ chat_id: chatId, content }, requestOptions(signal)),
        );
        return dataOf(readCompletion(answer), tenant.log).messages;
      }),
    end: (chatId, signal, options) =>
      call(
        "CHAT_END_FAILED",
        { isRead: false, chatId },
        async (retell) => {
          const answer = await retell.chat.end(chatId, requestOptions(signal)).asResponse();
          await answer.body?.cancel();
          // The SDK takes any 2xx for done, a web page of something in between too.
          if (answer.status !== 204) throw new UnexpectedAnswer(`Retell answered an end with ${answer.status}`);
        },
        options,
      ),
    retrieve: (chatId, signal, options) =>
      call(
        "CHAT_RETRIEVE_FAILED",
        { isRead: true, chatId },
        async (retell) => {
          const answer = await jsonOf(retell.chat.retrieve(chatId, requestOptions(signal)));
          const history = dataOf(readHistory(answer), tenant.log);
          if (history.chat_id !== chatId) throw new UnexpectedAnswer("Retell answered with another chat");
          return history;
        },
        options,
      ),
    findCreated: (agentId, by, since, signal, options) =>
      call(
        "CHAT_CREATION_FAILED",
        { isRead: true, chatId: undefined },
        async (retell) => {
          const criteria = {
            agent: [{ agent_id: agentId }],
            start_timestamp: { type: "number" as const, op: "ge" as const, value: since.getTime() - 60_000 },
          };
          const { STAGE } = config();
          for await (const { chat_id, ours } of pages(retell, criteria, signal)) {
            if (ours && isCreatedBy(ours, by) && (ours.stage ?? STAGE) === STAGE) return chat_id;
          }
          return undefined;
        },
        options,
      ),
    ongoingOf: (subaccountId, { from, to }, signal) =>
      call("CHAT_RETRIEVE_FAILED", { isRead: true, chatId: undefined }, async (retell) => {
        const criteria = {
          chat_status: { type: "enum" as const, op: "in" as const, value: ["ongoing" as const] },
          start_timestamp: { type: "range" as const, op: "bt" as const, value: [from, to] },
        };
        const chats: CreatedChat[] = [];
        for await (const { chat_id, ours } of pages(retell, criteria, signal)) {
          const isOurs = ours?.subaccountId === subaccountId && ours.stage === config().STAGE;
          if (isOurs) chats.push({ chatId: chat_id, operationId: ours.operationId });
        }
        return chats;
      }),
  };
}

/** Read here: the SDK would round large integers, and take a body for text by the type that it claims to have. */
async function jsonOf(asked: APIPromise<unknown>): Promise<unknown> {
  const answer = await asked.asResponse();
  return parseExactly(await answer.text());
}

function isCreatedBy(ours: z.infer<typeof ReservedMetadata>[typeof reservedKey], by: CreateId): boolean {
  if ("request" in by) return ours.request === by.request;
  const { subaccountId, operationId } = by;
  return ours.request === undefined && ours.operationId === operationId && ours.subaccountId === subaccountId;
}

/** The SDK's own timeout ends with the headers and is 5 minutes for a completion: the signal bounds the body too. */
const requestOptions = (signal: AbortSignal) => ({ signal, timeout: 30_000 });

/** By a digest of the API key: the clear key is held by its account alone, and leaves memory with it. */
const breakers = new Lru<CircuitBreaker>(1_000);
const sdks = new WeakMap<Account, Retell>();

function clientFor(account: Account): { sdk: Retell; breaker: CircuitBreaker } {
  const { apiKey } = account;
  const digest = createHash("sha256").update(apiKey).digest("base64");
  const breaker = breakers.get(digest) ?? new CircuitBreaker();
  breakers.set(digest, breaker);
  // Both given always: the SDK would fall back to the environment's, which is nobody's key here.
  const sdk =
    sdks.get(account) ??
    new Retell({ apiKey, baseURL: config().RETELL_BASE_URL, maxRetries: 0, logLevel: "off", fetch: ask });
  sdks.set(account, sdk);
  return { sdk, breaker };
}

/**
 * A send that goes out over a connection whose other side has hung up may have arrived or not, and is not repeated: so
 * none is used that was idle for longer than any server would let it be. A new one costs two trips.
 */
const connections = new HttpClient(4_000);

/** What the SDK takes for fetch. */
async function ask(url: string | URL | Request, init: RequestInit = {}): Promise<Response> {
  const answer = await connections.request(String(url), {
    method: init.method ?? "GET",
    headers: { ...Object.fromEntries(new Headers(init.headers)), "accept-encoding": "gzip" },
    body: init.body as string | undefined,
    signal: init.signal as AbortSignal,
  });
  const { status, headers } = answer;
  const body = status >= 200 && status < 300 ? answer.body : ""; // of an error, status and headers say all
  const known = ["retry-after", "retry-after-ms"].flatMap((name) => {
    const value = headers[name];
    return typeof value === "string" ? [[name, value] as [string, string]] : [];
  });
  return new Response(body || null, { status, headers: known });
}

/** The statuses that Retell answers with itself. All others come from a proxy between, which knows no outcome. */
const failureByStatus = new Map<number, Failure>([
  ...[401, 402, 403].map((status) => [status, "account"] as const),
  [429, "limited"],
  ...[400, 404, 413, 415, 422].map((status) => [status, "refused"] as const),
  [500, "failed"],
]);

function classify(error: unknown): Failure {
  if (wasNotSent(error)) return "unsent";
  const status = error instanceof APIError ? error.status : undefined; // none: aborted, half a body, an unreadable one
  return failureByStatus.get(status ?? 0) ?? "unknown";
}

/** No answer, a 5xx, or one that cannot be read at all. An answer of another shape than ours is an answer, and so is a 4xx. */
function countsAsOutage(failure: Failure, error: unknown): boolean {
  if (error instanceof z.ZodError) return false;
  return (
    ["unsent", "failed", "unknown"].includes(failure) && !(error instanceof APIError && Number(error.status) < 500)
  );
}

const retryAfter = (error: unknown) => readRetryAfter(error instanceof APIError ? error.headers : undefined);
