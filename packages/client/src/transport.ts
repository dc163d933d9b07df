import { type Answer, type Headers, type RateLimit, rateLimitOf, read, readFile } from "./answer.ts";
import { ChatError, type ErrorCode, errorOf, type Outcome } from "./errors.ts";
import { retryDelay } from "./retry.ts";
import type { Tokens } from "./token.ts";
import { type Bounds, sleep, uuid, within } from "./wait.ts";

/** As much of `fetch` as this client uses. `arrayBuffer` only for files that are asked for as bytes. */
export type Fetch = (
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string; signal?: AbortSignal },
) => Promise<{ status: number; headers: Headers; text(): Promise<string>; arrayBuffer?(): Promise<ArrayBuffer> }>;

/** How to give a file: React Native has no bytes, and a text is without the byte order mark at its beginning. */
export type FileForm = "text" | "bytes";

export type Operation =
  | ("create" | "send" | "end" | "delete" | "list" | "search" | "analytics" | "transcript" | "export")
  | ("exports-create" | "exports-list" | "exports-get" | "exports-cancel");

/** One request, before it is sent. */
export interface Ask {
  operation: Operation;
  method: "GET" | "POST" | "DELETE";
  /** Below the subaccount: `create`, `{chatId}/message`. */
  path: string;
  body?: object;
  /** The Idempotency-Key. */
  key?: string;
  etag?: string | undefined;
  /** The answer is a file, and this is how to give it. */
  form?: FileForm;
  /** Whether an earlier attempt with this key may have done what is asked. */
  mayBeDone?: boolean;
  /** Makes one attempt, and a second one after a 401. */
  once?: boolean;
}

/** One attempt, for logs and metrics. Holds no token, no text and no metadata. */
export interface RequestEvent {
  operation: Operation;
  method: string;
  url: string;
  /** 1 for the first attempt of a call. */
  attempt: number;
  /** 0 where no answer came. */
  status: number;
  code?: ErrorCode;
  operationId: string;
  durationMs: number;
  /** When the next attempt follows, where one does. */
  retryInMs?: number;
  idempotencyKey?: string;
  replayed?: boolean;
  rateLimit?: RateLimit;
}

export interface TransportOptions {
  baseUrl: string;
  subaccountId: string;
  tokens: Tokens;
  fetch: Fetch;
  attemptTimeoutMs: number;
  onRequest: ((event: RequestEvent) => void) | undefined;
}

export interface Transport {
  /**
   * Sends the request until there is an answer that a repeat would not change, or until its bounds end it.
   *
   * @throws ChatError, with the outcome of all attempts together.
   */
  request(ask: Ask, bounds: Bounds): Promise<Answer>;
  /** The server's clock, epoch ms, as far as the last answers tell. */
  serverTime(): number;
}

/** After these codes, nothing with this key is done or under way. Other refusals come before the key is looked at. */
const settled = new Set<string>([
  ...["CHAT_CREATION_FAILED", "MESSAGE_SEND_FAILED", "CHAT_ENDED", "CHAT_NOT_FOUND"],
  ...["IDEMPOTENCY_KEY_REUSED", "PAYLOAD_TOO_LARGE"],
]);

interface Attempt {
  result: Answer | ChatError;
  event: RequestEvent;
  token: string;
}

export function transportOf({ baseUrl, subaccountId, tokens, fetch, attemptTimeoutMs, onRequest }: TransportOptions) {
  const base = `${baseUrl.replace(/\/+$/, "")}/api/chats/${encodeURIComponent(subaccountId)}/`;
  let clockOffsetMs = 0;

  async function attempt(ask: Ask, number: number, bounds: Bounds): Promise<Attempt> {
    const token = await within(tokens.current(), bounds).catch((cause: unknown) => tokenError(cause));
    const operationId = uuid();
    const url = base + ask.path;
    const event: RequestEvent = {
      ...{ operation: ask.operation, method: ask.method, url, attempt: number, status: 0, operationId, durationMs: 0 },
      ...(ask.key === undefined ? {} : { idempotencyKey: ask.key }),
    };
    if (token instanceof ChatError) return { result: token, event, token: "" };
    const headers: Record<string, string> = { authorization: `Bearer ${token}`, "x-operation-id": operationId };
    if (ask.body) headers["content-type"] = "application/json";
    if (ask.key !== undefined) headers["idempotency-key"] = ask.key;
    if (ask.etag !== undefined) headers["if-none-match"] = ask.etag;
    const startedAt = Date.now();
    const result = await exchange(url, { ask, headers, bounds, event });
    event.durationMs = Date.now() - startedAt;
    if (result instanceof ChatError) {
      event.code = result.code;
      if (result.operationId) event.operationId = result.operationId;
    } else event.replayed = result.meta.replayed;
    return { result, event, token };
  }

  interface Exchange {
    ask: Ask;
    headers: Record<string, string>;
    bounds: Bounds;
    event: RequestEvent;
  }

  /** One request and its answer. Whatever fetch throws means that no answer came. */
  async function exchange(url: string, { ask, headers, bounds, event }: Exchange): Promise<Answer | ChatError> {
    const { operationId } = event;
    const controller = new AbortController();
    const init = { method: ask.method, headers, signal: controller.signal };
    const sentAt = Date.now();
    const answered = (async () => {
      const response = await fetch(url, ask.body ? { ...init, body: JSON.stringify(ask.body) } : init);
      const isFile = ask.form !== undefined && response.status === 200;
      return {
        response,
        isFile,
        content: response.status === 304 ? "" : await contentOf(response, isFile && ask.form),
      };
    })();
    const isLast = bounds.deadline - sentAt <= attemptTimeoutMs;
    const limits = { signal: bounds.signal, deadline: Math.min(bounds.deadline, sentAt + attemptTimeoutMs) };
    try {
      const { response, isFile, content } = await within(answered, limits, () => controller.abort());
      event.status = response.status;
      const limit = rateLimitOf(response.headers);
      if (limit) event.rateLimit = limit;
      const answer = isFile ? readFile(response, content, operationId) : read(response, content as string, operationId);
      noteClock(answer, response.headers, sentAt);
      return answer;
    } catch (cause) {
      const isOurs = cause instanceof ChatError && (cause.code === "ABORTED" || isLast);
      const code = isOurs ? (cause as ChatError).code : "NETWORK_ERROR";
      const message = isOurs ? (cause as ChatError).message : "No answer arrived";
      return errorOf({ code, message, operationId, cause, outcome: outcomeOf(ask, "unknown") });
    }
  }

  function noteClock(answer: Answer | ChatError, headers: Headers, sentAt: number) {
    const time = answer instanceof ChatError ? undefined : answer.meta.time;
    // The Date header has whole seconds, cut off.
    const server = time ?? Date.parse(headers.get("date") ?? "") + 500;
    if (Number.isFinite(server)) clockOffsetMs = server - (sentAt + Date.now()) / 2;
  }

  async function request(ask: Ask, bounds: Bounds): Promise<Answer> {
    let mayBeDone = ask.mayBeDone ?? false;
    let last: ChatError | undefined;
    let wasRefused = false;
    for (let number = 1; ; number++) {
      const { result, event, token } = await attempt(ask, number, bounds);
      if (!(result instanceof ChatError)) {
        onRequest?.(event);
        return result;
      }
      if (result.outcome === "unknown") mayBeDone = true;
      else if (settled.has(result.code)) mayBeDone = false;
      let waitMs = ask.once ? undefined : retryDelay(result, number);
      const isRefused = result.status === 401 && token !== "";
      if (isRefused && !wasRefused) {
        waitMs = await within(tokens.renew(token), bounds).then(
          (next) => (next === token ? undefined : 0),
          () => undefined,
        );
      }
      wasRefused = isRefused;
      const isOver = waitMs === undefined || Date.now() + waitMs >= bounds.deadline;
      if (!isOver) event.retryInMs = waitMs as number;
      onRequest?.(event);
      if (isOver) throw final(result, last, { ask, mayBeDone });
      last = result;
      await sleep(waitMs as number, bounds.signal).catch((stop: ChatError) => {
        throw final(stop, last, { ask, mayBeDone });
      });
    }
  }

  const serverTime = () => Math.round(Date.now() + clockOffsetMs);
  return { request, serverTime } satisfies Transport;
}

/** The whole body of an answer. */
export function contentOf(response: Awaited<ReturnType<Fetch>>, form: FileForm | false | undefined) {
  if (form !== "bytes") return response.text();
  if (response.arrayBuffer) return response.arrayBuffer();
  throw new Error("This fetch gives no bytes");
}

/** The error of a call: its last attempt's, with the outcome of all. */
function final(error: ChatError, before: ChatError | undefined, { ask, mayBeDone }: { ask: Ask; mayBeDone: boolean }) {
  if (error.outcome !== "undecided") error.outcome = mayBeDone ? "unknown" : "failed";
  if (ask.key !== undefined) error.key = ask.key;
  if (before && error.cause === undefined) error.cause = before;
  return error;
}

/** A read changes nothing, so nothing about it is unknown. */
const outcomeOf = ({ method }: Ask, outcome: Outcome): Outcome => (method === "GET" ? "failed" : outcome);

function tokenError(cause: unknown): ChatError {
  if (cause instanceof ChatError) return cause; // the deadline or the abort
  return errorOf({ code: "ACCESS_TOKEN_REQUIRED", status: 401, message: "There is no token", cause });
}
