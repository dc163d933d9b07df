import { type ChatError, type ErrorParts, errorOf, type Outcome } from "./errors.ts";
import type { Answered, FieldError, Meta } from "./types.ts";

/** As much of a response's headers as this client uses. */
export type Headers = { get(name: string): string | null };

/** An answer without an error; 304 has no data. */
export interface Answer {
  status: number;
  data: unknown;
  /** The answer's own, as far as it has one: 304 has none. */
  meta: Partial<Meta> & Pick<Meta, "operationId" | "replayed"> & Record<string, unknown>;
  etag: string | undefined;
}

/** The data of an answer with its meta, in the types that the API's reference gives them. */
export function answered<Data extends object, DataMeta = Meta>({ data, meta }: Answer): Answered<Data, DataMeta> {
  return { ...(data as Data), meta: meta as DataMeta };
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null;

/** What an answer says, whoever gave it. */
export function read(
  { status, headers }: { status: number; headers: Headers },
  text: string,
  operationId: string,
): Answer | ChatError {
  const etag = headers.get("etag") ?? undefined;
  const replayed = headers.get("idempotent-replayed") === "true";
  if (status === 304) return { status, data: undefined, etag, meta: { operationId, replayed } };
  const body = parse(text);
  const meta = isObject(body) && isObject(body.meta) ? body.meta : undefined;
  if (isSuccess(status) && isObject(body) && body.success === true && meta) {
    return { status, data: body.data, etag, meta: { ...(meta as Meta), replayed } };
  }
  const parts = { status, operationId, retryAfter: retryAfterOf(headers.get("retry-after"), body) };
  if (isObject(body) && body.success === false && typeof body.code === "string") return refusal(body, meta, parts);
  // A proxy, API Gateway or a captive portal answered. What it did with the request is known for its refusals alone.
  const outcome = status >= 400 && status < 500 ? "failed" : "unknown";
  return errorOf({ ...parts, code: "UNREADABLE_ANSWER", message: `HTTP ${status}`, outcome });
}

const isSuccess = (status: number) => status >= 200 && status < 300;

/**
 * A file that the API answers. Without a header that repeats the request's operationId somebody else answered, such as
 * the page of a hotel's network.
 */
export function readFile(
  { status, headers }: { status: number; headers: Headers },
  file: string | ArrayBuffer,
  operationId: string,
): Answer | ChatError {
  if (headers.get("x-operation-id") === operationId) {
    return { status, data: file, etag: undefined, meta: { operationId, replayed: false } };
  }
  return errorOf({ status, operationId, code: "UNREADABLE_ANSWER", message: "The answer is not the API's" });
}

function refusal(body: Json, meta: Json | undefined, parts: Partial<ErrorParts> & { status: number }): ChatError {
  const details = isObject(body.details) ? body.details : {};
  // After an unexpected error the API itself does not know.
  const { outcome = body.code === "INTERNAL_ERROR" ? "unknown" : "failed" } = details as { outcome?: Outcome };
  return errorOf({
    ...parts,
    ...{ code: String(body.code), message: String(body.message), details, outcome },
    operationId: typeof meta?.operationId === "string" ? meta.operationId : parts.operationId,
    fields: Array.isArray(body.errors) ? (body.errors as FieldError[]) : [],
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Seconds: the header, a number or a date, or the body's field. */
function retryAfterOf(header: string | null, body: unknown): number | undefined {
  const given = header ?? (isObject(body) ? body.retryAfter : undefined) ?? "";
  const seconds = given === "" ? Number.NaN : Number(given);
  if (seconds >= 0) return seconds;
  const date = Date.parse(String(given));
  return Number.isNaN(date) ? undefined : Math.max(0, (date - Date.now()) / 1000);
}

/** The tighter limit: requests per window, what is left of them, and seconds until it is reset. */
export interface RateLimit {
  limit: number;
  remaining: number;
  resetSeconds: number;
}

export function rateLimitOf(headers: Headers): RateLimit | undefined {
  const [limit, remaining, resetSeconds] = ["limit", "remaining", "reset"].map((name) =>
    headers.get(`ratelimit-${name}`),
  );
  if (!limit || !remaining || !resetSeconds) return undefined;
  return { limit: Number(limit), remaining: Number(remaining), resetSeconds: Number(resetSeconds) };
}
