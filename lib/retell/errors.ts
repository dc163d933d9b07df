import { APIError } from "retell-sdk";
import * as z from "zod";
import { ApiError, type ErrorCode } from "../platform/errors.ts";
import { wasNotSent } from "../platform/http.ts";
import { readRetryAfter } from "../platform/time.ts";
import { CircuitOpen } from "./breaker.ts";

/**
 * What a failed call means for what was asked:
 * - `account`: Retell refuses the tenant's account (401, 402, 403)
 * - `limited`: 429
 * - `refused`: another 4xx of Retell's own; the chat's state is the likely reason
 * - `unsent`: no connection was made, or the circuit is open; nothing was done
 * - `failed`: 500; Retell has finished, with or without an effect
 * - `unknown`: no answer, an incomplete or unreadable one, or one of a proxy; the effect may still come
 *
 * `account`, `limited` and `refused` are Retell's final answer to the request. They do not prove that it had no effect:
 * only the chat's history does.
 */
export type FailureKind = "account" | "limited" | "refused" | "unsent" | "failed" | "unknown";

/** A failed call to Retell, with the error code of the step that made it. */
export class RetellError extends ApiError {
  override readonly name = "RetellError";
  readonly kind: FailureKind;
  /** The account's next call would be refused as well. */
  readonly isAccountWide: boolean;

  /** @param cause What was thrown, or a RetellError that gets another step's code. */
  constructor(code: ErrorCode, failure: FailureKind, cause: unknown, details?: Record<string, unknown>) {
    const known = cause instanceof CircuitOpen || cause instanceof RetellError ? cause.retryAfter : undefined;
    const seconds = failure === "limited" ? (known ?? retryAfterOf(cause)) : known;
    const isHeldBack = cause instanceof CircuitOpen;
    const isLimited = failure === "limited" || (isHeldBack && cause.reason === "limited");
    super(code, {
      cause,
      ...(details ? { details } : {}),
      ...(seconds === undefined ? {} : { retryAfter: seconds }),
      tenantCause: isLimited ? "limit" : failure === "account" ? "account" : undefined,
    });
    this.kind = failure;
    const from = cause instanceof RetellError ? cause : undefined;
    this.isAccountWide = failure === "limited" || failure === "account" || isHeldBack || from?.isAccountWide === true;
  }
}

/**
 * A failed call as a value, for callers that continue without it.
 *
 * @throws Any error that is not a RetellError.
 */
export function asFailure(error: unknown): RetellError {
  if (error instanceof RetellError) return error;
  throw error;
}

/** Whether Retell, or the account with which it is called, is why something failed. */
export const isRetellOrAccount = (error: unknown): error is ApiError =>
  error instanceof ApiError && /^(RETELL|API_KEY)_/.test(error.code);

/** The statuses that Retell itself answers with. Any other comes from a proxy, which does not know the outcome. */
const failureByStatus = new Map<number, FailureKind>([
  ...[401, 402, 403].map((status) => [status, "account"] as const),
  [429, "limited"],
  ...[400, 404, 413, 415, 422].map((status) => [status, "refused"] as const),
  [500, "failed"],
]);

/** By class and status alone: Retell has no error codes. */
export function classify(error: unknown): FailureKind {
  if (wasNotSent(error)) return "unsent";
  const status = error instanceof APIError ? error.status : undefined; // none: aborted, cut off, or unreadable
  return failureByStatus.get(status ?? 0) ?? "unknown";
}

/** Whether Retell itself has answered with a 4xx. This does not prove that the call had no effect. */
export const isRefusal = ({ kind }: RetellError) => ["account", "limited", "refused"].includes(kind);

/** Whether the circuit breaker counts a failure. A 4xx, or an answer of another shape, shows that Retell is up. */
export function countsAsOutage(failure: FailureKind, error: unknown): boolean {
  if (error instanceof z.ZodError) return false;
  if (error instanceof APIError && Number(error.status) < 500) return false;
  return ["unsent", "failed", "unknown"].includes(failure);
}

/** Seconds. */
export const retryAfterOf = (error: unknown) => readRetryAfter(error instanceof APIError ? error.headers : undefined);
