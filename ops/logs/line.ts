import * as z from "zod";
import { type Route, routeKey } from "../../lib/api/route.ts";
import { routes } from "../../lib/api/routes.ts";
import { errors } from "../../lib/platform/errors.ts";
import { visible } from "../visible.ts";

const Ms = z.number().int().min(0);
const Id = z.string().min(1).max(128);

/** What is logged of an error: see `describe` in lib/platform/logger.ts. */
const Reason = z.strictObject({
  name: z.string(),
  message: z.string().optional(),
  code: z.union([z.number(), z.string()]).optional(),
  codeName: z.string().optional(),
  status: z.number().optional(),
  stack: z.array(z.string()).optional(),
  get cause() {
    return Reason.optional();
  },
});

/** Any line that the API logs, with the fields that it always has and those that it may have. */
export const LogLine = z.strictObject({
  level: z.enum(["DEBUG", "INFO", "WARN", "ERROR"]),
  message: z.string(),
  timestamp: z.iso.datetime(),
  service: z.literal("scalai-chat"),
  /** Powertools adds these. */
  sampling_rate: z.number().optional(),
  xray_trace_id: z.string().optional(),
  operationId: z.guid(),
  /** Lambda's request id. Absent outside of Lambda: `npm run ops -- sweep`. */
  requestId: Id.optional(),
  operation: z.enum([
    ...Object.values(routes).map(({ name }) => name),
    "sweep",
    "worker",
    "indexes",
    "doctor",
    "subaccount",
  ]),

  // Of a request: what was known when the line was written.
  route: z.enum(Object.values<Route>(routes).map(routeKey)).optional(),
  coldStart: z.boolean().optional(),
  userId: Id.optional(),
  subaccountId: z.hex().length(24).optional(),
  chatId: Id.optional(),
  agentId: Id.optional(),
  retellAccountId: Id.optional(),
  cache: z.enum(["hit", "miss"]).optional(),
  /** The circuit breaker refused to call Retell: `away` or `limited`. */
  retellCircuitOpen: z.string().optional(),
  /** Redis was unavailable: this instance counted by itself. */
  limits: z.literal("degraded").optional(),
  /** The event that a webhook reported. */
  event: z.string().optional(),
  /** The state of a message's turn when it was answered. `replayed`: an earlier request with the same key has sent it. */
  turn: z.enum(["delivered", "failed", "unknown", "replayed"]).optional(),
  turnId: z.guid().optional(),

  // Of a request's answer.
  status: z.number().int().optional(),
  code: z.enum(Object.keys(errors) as [keyof typeof errors]).optional(),
  /**
   * All four in ms: in total, until the caller was admitted, waiting for MongoDB, waiting for Retell. Waits at the same
   * time overlap.
   */
  duration: Ms.optional(),
  admit: Ms.optional(),
  mongo: Ms.optional(),
  retell: Ms.optional(),

  // Of a failure or a fallback.
  reason: Reason.optional(),
  /** The status of Retell's answer, if that is the reason. */
  retellStatus: z.number().int().optional(),
  /** The class of that failure, or the code of a connection error. Never a text of Retell's. */
  retellError: z
    .string()
    .regex(/^\w{1,64}$/)
    .optional(),

  /** The failure concerns this subaccount alone. */
  tenantCause: z.enum(["account", "limit", "key", "database", "paused"]).optional(),

  /** Which field of a document was ignored, as `collection.field`. */
  field: z.string().optional(),

  // Of a turn that another request settled later. `operationId` is the sender's, `settledBy` the settling request's.
  outcome: z.string().optional(),
  settledBy: z.guid().optional(),
  /** Of a turn that is still open. */
  openSeconds: z.number().int().optional(),

  // Of the cache, at DEBUG.
  key: z.string().optional(),
  bytes: z.number().int().optional(),

  // Of a background job. `operationId` is that of the request that asked for it.
  jobId: Id.optional(),
  kind: Id.optional(),
  attempt: z.number().int().optional(),
  tries: z.number().int().optional(),

  // Of a run of the sweep.
  subaccounts: z.number().int().optional(),
  settled: z.number().int().optional(),
  orphansEnded: z.number().int().optional(),
  /** Subaccounts that a sweep skipped, because an operator has paused them. */
  paused: z.number().int().optional(),
  failed: z.number().int().optional(),
  failing: z.number().int().optional(),
  oldestOpenSeconds: z.number().optional(),
});
export type LogLine = z.infer<typeof LogLine>;

/** The line that every request ends with. */
export const RequestLine = LogLine.required({
  requestId: true,
  route: true,
  coldStart: true,
  status: true,
  duration: true,
  admit: true,
  mongo: true,
  retell: true,
}).refine(({ status, code }) => status < 400 === (code === undefined), { error: "An error has its code" });

/** Whether a line is a `RequestLine`. */
export const isOfRequest = ({ message }: { message?: unknown }) =>
  message === "Request" || message === "Request failed";

/** Accepts unknown fields: another version of the code may have written the line. */
const LoggedLine = LogLine.loose();
export type LoggedLine = z.infer<typeof LoggedLine>;

/** The API's lines of a log. Other lines are ignored. */
export function linesIn(log: string): LoggedLine[] {
  return log.split("\n").flatMap((text) => parse(text) ?? []);
}

function parse(text: string): LoggedLine | undefined {
  try {
    return LoggedLine.safeParse(
      JSON.parse(text, (_name, value) => (typeof value === "string" ? visible(value) : value)),
    ).data;
  } catch {
    return undefined;
  }
}

/** Epoch ms. */
export const timeOf = ({ timestamp }: LoggedLine) => Date.parse(timestamp);
/** When a request began, in epoch ms: its line is written at the end. */
export const begunAt = (line: LoggedLine) => timeOf(line) - (line.duration ?? 0);

/** The reason of a failure, in parentheses. The innermost cause says most. */
export function because({ reason }: LoggedLine): string {
  let cause = reason;
  while (cause?.cause) cause = cause.cause;
  if (!cause) return "";
  return ` (${[cause.name, cause.status ?? cause.code, cause.message].filter((part) => part !== undefined).join(" ")})`;
}
