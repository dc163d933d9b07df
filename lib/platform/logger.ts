import { Logger } from "@aws-lambda-powertools/logger";
import type { ErrorCode } from "./errors.ts";
import { Metrics } from "./metrics.ts";

const logger = new Logger({ serviceName: "scalai-chat" });

const unreachable: ErrorCode = "CONNECTION_FAILED";

type Fields = Record<string, string | number | boolean | undefined>;

/** An id that somebody else chose, if it can stand in a line and on a terminal: visible ASCII, and not a text. */
export const loggable = (id: string) => (/^[\x21-\x7e]{1,128}$/.test(id) ? id : undefined);

/** What every line says of the request that it belongs to. */
interface Identity {
  operationId: string;
  /** Lambda's: the gateway's access log knows the request by it, and has no operationId. */
  requestId: string | undefined;
  operation: string;
}

/**
 * One request's log. Its fields travel with it, not on the module's logger, because the local gateway runs
 * requests side by side. Never give it a token, a key, message text, dynamic variables, metadata or a whole event.
 */
export class RequestLog {
  /** In every line of this request. Added to as the request becomes known: userId, subaccountId, chatId … */
  readonly fields: Fields & Identity;
  /** Where the request's time went, in ms: up to the gate, and waiting for Mongo and for Retell. */
  readonly spent = { admit: 0, mongo: 0, retell: 0 };
  /** What it counts, for the one line of metrics at its end. */
  readonly metrics: Metrics;
  private readonly warned = new Set<unknown>();

  constructor(fields: Fields & Identity, metrics = new Metrics()) {
    this.fields = fields;
    this.metrics = metrics;
  }

  /** Adds how long something takes to a part of the request's time. */
  async time<T>(part: "mongo" | "retell", work: Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work;
    } catch (error) {
      if (part === "mongo" && (error as { code?: unknown }).code === unreachable) this.metrics.add("MongoFailures");
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

  /** A fallback was taken: the request goes on. One failure that several parts of a request meet is one line. */
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

  /** Writes what was counted: the last that is heard of a request. */
  writeMetrics(durationMs: number, error?: { code: ErrorCode; status: number }): void {
    const { operationId, requestId, operation, cache } = this.fields;
    this.metrics.put("Duration", durationMs);
    if (cache) this.metrics.add(cache === "hit" ? "CacheHits" : "CacheMisses");
    if (error) this.metrics.add("Errors");
    if (error && error.status >= 500) this.metrics.add("Failures");
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

/** What a line says of an error. What Retell said stands beside it, too: how deep in it is differs from step to step. */
function reasonOf(error: unknown): { reason: Description; retellStatus?: number; retellError?: string } {
  let failed = error;
  while (failed instanceof Error && failed.name !== "RetellError") failed = failed.cause;
  while (failed instanceof Error && failed.name === "RetellError") failed = failed.cause;
  const reason = describe(error);
  if (!(failed instanceof Error)) return { reason };
  const { name, status, cause } = describe(failed);
  const retellError = cause?.code === undefined ? name : String(cause.code); // no connection, and why
  return { reason, ...(status === undefined ? {} : { retellStatus: status }), retellError };
}

/**
 * Errors whose messages we write, or the runtime without a value in them. None of a connection's: the messages of
 * Mongo's driver and of Node's system errors hold hosts, which are a tenant's secret. Their name and code tell enough.
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
 * What the runtime says without a value in it. Its other messages may hold one: a header that cannot be sent is quoted
 * with its key, an argument of the wrong type with what it is, and `in` with what was searched.
 */
const plain =
  /^(Cannot (read|set) properties of (undefined|null)( \((reading|setting) '[\w$]{1,64}'\))?|[\w$]{1,64} is not defined|Maximum call stack size exceeded|Invalid (array|string) length|fetch failed|terminated)$/;

const isQuotable = ({ name, message }: Error) =>
  quotable.has(name) || (/^(Type|Range|Reference)Error$/.test(name) && plain.test(message));

/**
 * What of an error may stand in a log. Messages of other parties are left out: Retell's may repeat what the user said,
 * a JSON parser's quotes its input, the Upstash client's holds the whole command, a duplicate key's holds the document.
 */
export function describe(error: unknown, depth = 0): Description {
  if (!(error instanceof Error)) return { name: `thrown ${typeof error}` };

  const { code, codeName, status } = error as { code?: unknown; codeName?: unknown; status?: unknown };
  // A stack begins with the message, and its lines may look like frames.
  const [, trace = ""] = error.stack?.split(error.message || error.name) ?? [];
  const frames = trace.split("\n").filter((line) => /^\s+at .*:\d+:\d+\)?$/.test(line));
  return {
    // The classes of Retell's SDK all have the name of their base.
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
