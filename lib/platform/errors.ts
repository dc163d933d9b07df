/**
 * Why a failure concerns one tenant and says nothing about the others. Logs have it, and the metrics behind the alarms
 * of the whole stage leave such failures out:
 * - `account`: its Retell account is missing, inactive or malformed, or Retell refuses it (401, 402, 403)
 * - `limit`: Retell limits its account (429)
 * - `key`: a stored secret of its Retell account does not decrypt
 * - `database`: its database cannot be located, or is on a cluster of its own that cannot be reached
 * - `paused`: an operator has paused it
 */
export type TenantCause = "account" | "limit" | "key" | "database" | "paused";

/** Every error code with its HTTP status and its message for people. Codes are stable; messages may change. */
export const errors = {
  VALIDATION_ERROR: { status: 400, message: "The request is not valid" },
  ACCESS_TOKEN_REQUIRED: { status: 401, message: "A bearer token is required" },
  INVALID_ACCESS_TOKEN: { status: 401, message: "The access token is invalid or expired" },
  INVALID_SIGNATURE: { status: 401, message: "The signature is not valid" },
  PERMISSION_DENIED: { status: 403, message: "You do not have permission to do this" },
  AGENT_NOT_FOUND: { status: 404, message: "Agent not found" },
  CHAT_NOT_FOUND: { status: 404, message: "Chat not found" },
  EXPORT_NOT_FOUND: { status: 404, message: "Export not found" },
  EXPORTS_UNAVAILABLE: { status: 404, message: "This installation keeps no files, and so makes no exports" },
  NOT_FOUND: { status: 404, message: "There is no such route" },
  METHOD_NOT_ALLOWED: { status: 405, message: "This route does not know that method" },
  CHAT_BUSY: { status: 409, message: "The chat is busy with another message; try again shortly" },
  REQUEST_IN_PROGRESS: { status: 409, message: "A request with this key is still running" },
  CHAT_ENDED: { status: 409, message: "The chat has ended" },
  TOO_MANY_EXPORTS: { status: 409, message: "Too many exports are running; wait for one, or cancel one" },
  PAYLOAD_TOO_LARGE: { status: 413, message: "The request, or the chat, is too large" },
  EXPORT_TOO_LARGE: { status: 413, message: "The chat is too large for a file in this format" },
  IDEMPOTENCY_KEY_REUSED: { status: 422, message: "This key was used for a different request" },
  RATE_LIMIT_EXCEEDED: { status: 429, message: "Too many requests" },
  RETELL_ACCOUNT_INACTIVE: {
    status: 400,
    message: "This subaccount has no active Retell account",
    tenantCause: "account",
  },
  RETELL_FETCH_FAILED: { status: 503, message: "The Retell account could not be read" },
  API_KEY_DECRYPTION_ERROR: {
    status: 500,
    message: "The Retell account's key could not be decrypted",
    tenantCause: "key",
  },
  CHAT_CREATION_FAILED: { status: 503, message: "The chat could not be created" },
  MESSAGE_SEND_FAILED: { status: 503, message: "The message could not be sent" },
  CHAT_END_FAILED: { status: 503, message: "The chat could not be ended" },
  CHAT_RETRIEVE_FAILED: { status: 503, message: "The chat could not be retrieved" },
  CHAT_LIST_FAILED: { status: 503, message: "The chats could not be listed" },
  EXPORT_FAILED: { status: 503, message: "The file of the export could not be written" },
  ANALYTICS_FAILED: { status: 503, message: "The chats could not be summed up" },
  CONNECTION_FAILED: { status: 503, message: "The database cannot be reached" },
  SUBACCOUNT_PAUSED: {
    status: 503,
    message: "This subaccount is paused for maintenance; try again shortly",
    tenantCause: "paused",
  },
  TIMEOUT: { status: 504, message: "The request took too long" },
  INTERNAL_ERROR: { status: 500, message: "Something went wrong on our side" },
} as const satisfies Record<string, { status: number; message: string; tenantCause?: TenantCause }>;

export type ErrorCode = keyof typeof errors;

/** One error in an input, described for its author. */
export interface FieldError {
  /** Such as `content`, `limit`, `idempotency-key` or `metadata.a.b`; `body` for the whole body. */
  field: string;
  in: "body" | "query" | "path" | "header";
  message: string;
}

/** How many errors are reported at most, so that the answer is not larger than the request. */
export const maxErrors = 100;

interface ErrorOptions {
  cause?: unknown;
  /** Replaces the table's message. Must not contain what the caller or a dependency sent. */
  message?: string;
  /** Only for MESSAGE_SEND_FAILED, which is a 504 when the outcome is unknown. */
  status?: number;
  errors?: FieldError[];
  details?: Record<string, unknown>;
  /** Seconds. Sent as `Retry-After` and in the body. */
  retryAfter?: number;
  /** Default: the table's, or that of `cause`. */
  tenantCause?: TenantCause | undefined;
}

/** The error class for every answer other than 200. `middleware/respond.ts` turns it into the answer. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly errors: FieldError[] | undefined;
  readonly details: Record<string, unknown> | undefined;
  readonly retryAfter: number | undefined;
  /** Never part of an answer. */
  readonly tenantCause: TenantCause | undefined;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    super(options.message ?? errors[code].message, { cause: options.cause });
    this.name = "ApiError";
    const row: { status: number; tenantCause?: TenantCause } = errors[code];
    this.code = code;
    this.status = options.status ?? row.status;
    this.errors = options.errors;
    this.details = options.details;
    this.retryAfter = options.retryAfter;
    this.tenantCause = options.tenantCause ?? row.tenantCause ?? tenantCauseOf(options.cause);
  }
}

/** Why an error concerns one tenant alone; undefined when it may concern others. */
export const tenantCauseOf = (error: unknown) => (error instanceof ApiError ? error.tenantCause : undefined);

/** A dependency answered, but not as documented. The message is ours and contains nothing of the answer. */
export class UnexpectedAnswer extends Error {
  override readonly name = "UnexpectedAnswer";
}
