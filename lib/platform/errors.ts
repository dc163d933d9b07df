/** Every error code with its HTTP status and its message for people. Codes are stable; messages may change. */
export const errors = {
  VALIDATION_ERROR: { status: 400, message: "The request is not valid" },
  ACCESS_TOKEN_REQUIRED: { status: 401, message: "A bearer token is required" },
  INVALID_ACCESS_TOKEN: { status: 401, message: "The access token is invalid or expired" },
  INVALID_SIGNATURE: { status: 401, message: "The signature is not valid" },
  PERMISSION_DENIED: { status: 403, message: "You do not have permission to do this" },
  AGENT_NOT_FOUND: { status: 404, message: "Agent not found" },
  CHAT_NOT_FOUND: { status: 404, message: "Chat not found" },
  NOT_FOUND: { status: 404, message: "There is no such route" },
  METHOD_NOT_ALLOWED: { status: 405, message: "This route does not know that method" },
  CHAT_BUSY: { status: 409, message: "The chat is busy with another message; try again shortly" },
  REQUEST_IN_PROGRESS: { status: 409, message: "A request with this key is still running" },
  CHAT_ENDED: { status: 409, message: "The chat has ended" },
  PAYLOAD_TOO_LARGE: { status: 413, message: "The request, or the chat, is too large" },
  IDEMPOTENCY_KEY_REUSED: { status: 422, message: "This key was used for a different request" },
  RATE_LIMIT_EXCEEDED: { status: 429, message: "Too many requests" },
  RETELL_ACCOUNT_INACTIVE: { status: 400, message: "This subaccount has no active Retell account" },
  RETELL_FETCH_FAILED: { status: 503, message: "The Retell account could not be read" },
  API_KEY_DECRYPTION_ERROR: { status: 500, message: "The Retell account's key could not be decrypted" },
  CHAT_CREATION_FAILED: { status: 503, message: "The chat could not be created" },
  MESSAGE_SEND_FAILED: { status: 503, message: "The message could not be sent" },
  CHAT_END_FAILED: { status: 503, message: "The chat could not be ended" },
  CHAT_RETRIEVE_FAILED: { status: 503, message: "The chat could not be retrieved" },
  CHAT_LIST_FAILED: { status: 503, message: "The chats could not be listed" },
  CONNECTION_FAILED: { status: 503, message: "The database cannot be reached" },
  SUBACCOUNT_PAUSED: { status: 503, message: "This subaccount is paused for maintenance; try again shortly" },
  TIMEOUT: { status: 504, message: "The request took too long" },
  INTERNAL_ERROR: { status: 500, message: "Something went wrong on our side" },
} as const satisfies Record<string, { status: number; message: string }>;

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
}

/** The error class for every answer other than 200. `middleware/respond.ts` turns it into the answer. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly errors: FieldError[] | undefined;
  readonly details: Record<string, unknown> | undefined;
  readonly retryAfter: number | undefined;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    super(options.message ?? errors[code].message, { cause: options.cause });
    this.name = "ApiError";
    this.code = code;
    this.status = options.status ?? errors[code].status;
    this.errors = options.errors;
    this.details = options.details;
    this.retryAfter = options.retryAfter;
  }
}

/** A dependency answered, but not as documented. The message is ours and contains nothing of the answer. */
export class UnexpectedAnswer extends Error {
  override readonly name = "UnexpectedAnswer";
}
