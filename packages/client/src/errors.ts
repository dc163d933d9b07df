import type { ApiErrorCode, FieldError } from "./types.ts";

/** Codes of this client, for what happens before or instead of an answer of the API. */
export type ClientErrorCode =
  | "NETWORK_ERROR"
  | "UNREADABLE_ANSWER"
  | "DEADLINE_EXCEEDED"
  | "ABORTED"
  /** The API does not know a filter, so its answer has chats that were not asked for. */
  | "FILTER_IGNORED"
  | "EXPORT_CANCELED"
  /** The file of an export has been deleted. */
  | "EXPORT_EXPIRED";

/** The API adds codes over time, so a client must expect some that it does not know. */
export type ErrorCode = ApiErrorCode | ClientErrorCode | (string & {});

/**
 * What became of the thing that was asked for.
 * `failed`: it was not done. `unknown`: it may have been done; the same key finds out, and nothing is done twice.
 * `undecided`: nobody can tell any more whether the agent got the message; this is final.
 */
export type Outcome = "failed" | "unknown" | "undecided";

export interface ErrorParts {
  code: ErrorCode;
  message: string;
  /** The HTTP status; 0 where no answer came. */
  status?: number;
  /** Identifies the request in the API's logs. */
  operationId?: string | undefined;
  fields?: FieldError[] | undefined;
  /** Seconds. */
  retryAfter?: number | undefined;
  details?: Record<string, unknown> | undefined;
  outcome?: Outcome;
  cause?: unknown;
}

/** Every error that this client throws. Switch on `code`; `message` is for people and may change. */
export class ChatError extends Error {
  readonly code: ErrorCode;
  /** The HTTP status; 0 where no answer came. */
  readonly status: number;
  /** Identifies the last request in the API's logs, also where no answer came. */
  readonly operationId: string | undefined;
  /** What is wrong with the input, for VALIDATION_ERROR. */
  readonly fields: FieldError[];
  /** Seconds until a retry makes sense, where the API says so. */
  readonly retryAfter: number | undefined;
  readonly details: Record<string, unknown>;
  outcome: Outcome;
  /** The Idempotency-Key of a create or send that failed: `send(text, { key })` repeats it, and does nothing twice. */
  key: string | undefined;

  constructor({ code, message, status = 0, operationId, fields, retryAfter, details, outcome, cause }: ErrorParts) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.status = status;
    this.operationId = operationId;
    this.fields = fields ?? [];
    this.retryAfter = retryAfter;
    this.details = details ?? {};
    this.outcome = outcome ?? "failed";
    if (cause !== undefined) this.cause = cause;
  }
}

/** The input is invalid: see `fields`. */
export class ValidationError extends ChatError {}
/** The token is missing, invalid or expired, and could not be refreshed: sign in again. */
export class AuthError extends ChatError {}
/** The user may not do this: see `details.requiredPermission`. */
export class PermissionError extends ChatError {}
/** The subaccount has no such chat or agent. */
export class NotFoundError extends ChatError {}
/** Another message is still being answered in this chat, or the first request with this key is still running. */
export class BusyError extends ChatError {}
/** The chat is over and takes no message. */
export class ChatEndedError extends ChatError {}
/** Too many requests: `retryAfter` says when one more passes. */
export class RateLimitError extends ChatError {}
/** The API, or what it depends on, does not work now. */
export class UnavailableError extends ChatError {}
/** No answer arrived: no network, a cut connection, or an answer that is not the API's. */
export class NetworkError extends ChatError {}
/** The deadline of the call passed. */
export class DeadlineError extends ChatError {}
/** The call was aborted by its signal. */
export class AbortError extends ChatError {}

const classes: Record<string, typeof ChatError> = {
  CHAT_BUSY: BusyError,
  REQUEST_IN_PROGRESS: BusyError,
  CHAT_ENDED: ChatEndedError,
  NETWORK_ERROR: NetworkError,
  UNREADABLE_ANSWER: NetworkError,
  FILTER_IGNORED: ValidationError,
  DEADLINE_EXCEEDED: DeadlineError,
  ABORTED: AbortError,
};

const classesByStatus: Record<number, typeof ChatError> = {
  400: ValidationError,
  401: AuthError,
  403: PermissionError,
  404: NotFoundError,
  413: ValidationError,
  429: RateLimitError,
};

/** The error of the class that belongs to its code or, where the code is not known, to its status. */
export function errorOf(parts: ErrorParts): ChatError {
  const { code, status = 0 } = parts;
  const Class = classes[code] ?? classesByStatus[status] ?? (status >= 500 ? UnavailableError : ChatError);
  return new Class(parts);
}
