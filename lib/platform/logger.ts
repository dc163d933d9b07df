import { Logger } from "@aws-lambda-powertools/logger";
import { type ApiError, type ErrorCode, type TenantCause, tenantCauseOf } from "./errors.ts";
import { Metrics } from "./metrics.ts";

const logger = new Logger({ serviceName: "scalai-chat" });

const unreachable: ErrorCode = "CONNECTION_FAILED";

type Fields = Record<string, string | number | boolean | undefined>;

/** An id that somebody else chose, if it is safe in a log and on a terminal: at most 128 visible ASCII characters. */
export const loggable = (id: string) => (/^[\x21-\x7e]{1,128}$/.test(id) ? id : undefined);

/** Fields of every line that identify its request. */
interface Identity {
  operationId: string;
  /** Lambda's, which the gateway's access log has, too. That log has no operationId. */
  requestId: string | undefined;
  operation: string;
}

/**
 * One request's log. It has the request's fields, not the module's logger, because the local gateway runs requests in
 * parallel. Never log a token, a key, message text, dynamic variables, metadata or a whole event.
 */
export class RequestLog {
  /** Fields of every line of this request. Middleware add more: userId, subaccountId, chatId … */
  readonly fields: Fields & Identity;
  /** The request's time in ms: until it was authorized, and waiting for Mongo and for Retell. */
  readonly spent = { admit: 0, mongo: 0, retell: 0 };
  /** Counted here, and written as one line at the end. */
  readonly metrics: Metrics;
  private readonly warned = new Set<unknown>();

  constructor(fields: Fields & Identity, metrics = new Metrics()) {
    this.fields = fields;
    this.metrics = metrics;
  }

  /** Awaits work, and adds its time to `spent`. */
  async time<T>(part: "mongo" | "retell", work: Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work;
    } catch (error) {
      const isUnreachable = (error as { code?: unknown }).code === unreachable;
      if (part === "mongo" && isUnreachable && !tenantCauseOf(error)) this.metrics.add("MongoFailures");
      throw error;
    } finally {
      this.spent[part] += performance.now() - start;
    }
  }

  debug(message: string, extra: Fields = {}): void {
    logger.debug(message, this.line(extra));
  }

  info(message: string, extra: Fields = {}): void {
    logger.info(message, this.line(extra));
  }

  /** For a fallback, after which the request continues. A failure that several parts of a request meet is logged once. */
  warn(message: string, error?: unknown, extra: Fields = {}): void {
    if (error instanceof Error) {
      const subject = (error as { subject?: unknown }).subject ?? error;
      if (this.warned.has(subject)) return;
      this.warned.add(subject);
    }
    logger.warn(message, { ...this.line(extra), ...(error === undefined ? {} : reasonOf(error)) });
  }

  error(message: string, error: unknown, extra: Fields = {}): void {
    logger.error(message, { ...this.line(extra), ...reasonOf(error) });
  }

  /** Writes a request's own line and its metrics. Both in one write: of a message's seven writes, this saves one. */
  finish(outcome: Fields & { duration: number }, error?: ApiError): void {
    process.stdout.cork();
    const tenantCause = error?.tenantCause;
    // A pause is an operator's own doing.
    if (error && error.status >= 500 && tenantCause !== "paused") this.error("Request failed", error, outcome);
    else this.info("Request", { ...outcome, tenantCause });
    this.writeMetrics(outcome.duration, error);
    process.stdout.uncork();
  }

  /**
   * Writes what was counted, as the last line of a request or of a sweep. A failure with one tenant's own cause is kept
   * out of what the alarms of the whole stage watch: a client that polls such a tenant would set them off.
   */
  writeMetrics(durationMs: number, error?: ApiError): void {
    const { operationId, requestId, operation, cache } = this.fields;
    const failures = error?.tenantCause ? "TenantFailures" : "Failures";
    const isFailure = (error?.status ?? 0) >= 500;
    if (isFailure) this.metrics.add(failures);
    if (!isFailure || failures === "Failures") this.metrics.put("Duration", durationMs);
    if (cache) this.metrics.add(cache === "hit" ? "CacheHits" : "CacheMisses");
    if (error) this.metrics.add("Errors");
    this.metrics.flush({ operationId, requestId, Operation: operation, Code: error?.code });
  }

  private line(extra: Fields): Fields {
    return { ...this.fields, ...extra };
  }
}

interface Description {
  name: string;
  message?: string;
  code?: string | number;
  codeName?: string;
  status?: number;
  stack?: string[];
  cause?: Description;
}

interface Reason {
  reason: Description;
  tenantCause: TenantCause | undefined;
  retellStatus?: number;
  retellError?: string;
}

/** The fields of an error. What Retell answered is also at the top level, because its depth in the causes varies. */
function reasonOf(error: unknown): Reason {
  let failed = error;
  while (failed instanceof Error && failed.name !== "RetellError") failed = failed.cause;
  while (failed instanceof Error && failed.name === "RetellError") failed = failed.cause;
  const reason = { reason: describe(error), tenantCause: tenantCauseOf(error) };
  if (!(failed instanceof Error)) return reason;
  const { name, status, cause } = describe(failed);
  const retellError = cause?.code === undefined ? name : String(cause.code); // why there was no connection
  return { ...reason, ...(status === undefined ? {} : { retellStatus: status }), retellError };
}

/**
 * Errors whose messages we write ourselves, or that never contain a value. The messages of Mongo's driver and of Node's
 * system errors contain hosts, which are a tenant's secret: only their name and code are logged.
 */
const quotable = new Set([
  "ApiError",
  "RetellError",
  "UnexpectedAnswer",
  "TimeoutError",
  "AbortError",
  "ConfigError",
  "RedisUnavailable",
  "CircuitOpen",
]);

/**
 * Messages of the runtime that contain no value. Others may quote one: an invalid header with its content, an argument
 * of the wrong type, the operands of `in`.
 */
const plain =
  /^(Cannot (read|set) properties of (undefined|null)( \((reading|setting) '[\w$]{1,64}'\))?|[\w$]{1,64} is not defined|Maximum call stack size exceeded|Invalid (array|string) length|fetch failed|terminated)$/;

const isQuotable = ({ name, message }: Error) =>
  quotable.has(name) || (/^(Type|Range|Reference)Error$/.test(name) && plain.test(message));

/**
 * The parts of an error that may be logged. Messages of other parties are left out: Retell's may repeat what the user
 * said, a JSON parser's quotes its input, the Upstash client's contains the command, a duplicate key's the document.
 */
export function describe(error: unknown, depth = 0): Description {
  if (!(error instanceof Error)) return { name: `thrown ${typeof error}` };

  const { code, codeName, status } = error as { code?: unknown; codeName?: unknown; status?: unknown };
  // A stack begins with the message, whose lines may look like frames.
  const [, trace = ""] = error.stack?.split(error.message || error.name) ?? [];
  const frames = trace.split("\n").filter((line) => /^\s+at .*:\d+:\d+\)?$/.test(line));
  return {
    // All error classes of Retell's SDK have the name of their base class.
    name: error.name === "Error" ? Object.getPrototypeOf(error).constructor.name : error.name,
    ...(isQuotable(error) ? { message: error.message } : {}),
    ...(typeof code === "number" || /^[A-Z0-9_]{1,64}$/.test(String(code ?? "")) ? { code: code as string } : {}),
    // MongoDB's name for its number.
    ...(typeof codeName === "string" && /^[A-Za-z0-9]{1,64}$/.test(codeName) ? { codeName } : {}),
    ...(typeof status === "number" ? { status } : {}),
    stack: frames.slice(0, 10).map((line) => line.trim()),
    ...(error.cause === undefined || depth > 3 ? {} : { cause: describe(error.cause, depth + 1) }),
  };
}
