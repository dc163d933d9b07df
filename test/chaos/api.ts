import { setTimeout as delay } from "node:timers/promises";
import * as z from "zod";
import { routes } from "../../lib/api/routes.ts";
import { type ErrorCode, errors } from "../../lib/platform/errors.ts";
import type { Dice } from "./dice.ts";
import type { Ledger } from "./ledger.ts";
import { compact, type Trace } from "./trace.ts";

type Name = "create" | "message" | "end" | "transcript";
export type Data<N extends Name> = z.output<(typeof routes)[N]["data"]>;

export const isPending = (message: Data<"transcript">["messages"][number]) =>
  "delivery" in message && message.delivery === "pending";

/** The codes that a client may get in a run, and how it reacts. Any other code is undocumented. */
const passing: Record<Name, ErrorCode[]> = {
  create: ["REQUEST_IN_PROGRESS", "CHAT_CREATION_FAILED", "CHAT_RETRIEVE_FAILED"],
  message: ["CHAT_BUSY", "REQUEST_IN_PROGRESS", "MESSAGE_SEND_FAILED"],
  end: ["CHAT_BUSY", "CHAT_END_FAILED"],
  transcript: ["CHAT_RETRIEVE_FAILED"],
};
const passingAnywhere: ErrorCode[] = [
  ...(["CONNECTION_FAILED", "TIMEOUT", "RATE_LIMIT_EXCEEDED", "RETELL_FETCH_FAILED"] as const),
  "SUBACCOUNT_PAUSED", // while the tenant is moved
];

const Meta = z.looseObject({ operationId: z.uuid(), operation: z.string(), duration: z.string().regex(/^\d+ms$/) });
const Failure = z.strictObject({
  success: z.literal(false),
  message: z.string().min(1),
  code: z.enum(Object.keys(errors) as [ErrorCode, ...ErrorCode[]]),
  errors: z.array(z.unknown()).optional(),
  details: z.looseObject({}).optional(),
  retryAfter: z.number().optional(),
  meta: Meta,
});
const Success = z.strictObject({
  success: z.literal(true),
  message: z.string().min(1),
  data: z.unknown(),
  meta: z.looseObject({ operationId: z.uuid(), duration: z.string() }),
});

/** API Gateway's own answers for a function without an answer. */
const OwnAnswer = z.strictObject({ message: z.string() });

/** What a client learns that repeats a call until it knows the outcome. */
export type Known<N extends Name> =
  | { kind: "done"; data: Data<N>; meta: Record<string, unknown>; isReplay: boolean }
  | { kind: "ended" }
  | { kind: "undecided" }
  | { kind: "unanswered"; last: string };

/** The request. */
export interface Request {
  chatId?: string;
  query?: string;
  body?: object;
  key?: string;
}

/** The API's instances, and the caller. */
export interface Door {
  /** The instances. */
  urls: string[];
  subaccountId: string;
  token: string;
  ledger: Ledger;
  trace?: Trace;
  /** Whether an instance was stopped a moment ago: then an answer of API Gateway is allowed. */
  wasStopped(url: string): boolean;
  /** A call that has no answer by then counts as stuck. */
  patienceMs: number;
}

/** Retry-After is in seconds, for which a run has no time: clients wait less. */
const hurry = 0.05;
/** A client that gives up early, like an app with a bad connection, and repeats while its first request still runs. */
const impatience = 0.04;

type Told<N extends Name> = Exclude<Known<N>, { kind: "unanswered" }> | { kind: "again"; why: string; afterMs: number };

/** Repeats a request with the same key until an answer gives its outcome. */
export async function persist<N extends Name>(door: Door, dice: Dice, name: N, request: Request): Promise<Known<N>> {
  const until = Date.now() + door.patienceMs;
  let last = "nothing was asked";
  while (Date.now() < until) {
    const told = await ask(door, dice, name, request);
    if (told.kind !== "again") return told;
    last = told.why;
    await delay(told.afterMs + dice.between(0, 40));
  }
  return { kind: "unanswered", last };
}

async function ask<N extends Name>(door: Door, dice: Dice, name: N, request: Request): Promise<Told<N>> {
  const { ledger } = door;
  const path = routes[name].path
    .replace("{subaccountId}", door.subaccountId)
    .replace("{chatId}", request.chatId ?? "")
    .concat(request.query ?? "");
  const patience = dice.chance(impatience) ? dice.between(20, 1_500) : 20_000;
  const instance = dice.of(door.urls as [string, ...string[]]);
  if (name === "message") ledger.requests += 1;
  const at = Date.now();
  let status: number;
  let headers: Headers;
  let text: string;
  try {
    const response = await fetch(instance + path, {
      method: routes[name].method,
      headers: {
        authorization: `Bearer ${door.token}`,
        ...(request.body ? { "content-type": "application/json" } : {}),
        ...(request.key ? { "idempotency-key": request.key } : {}),
      },
      signal: AbortSignal.timeout(patience),
      ...(request.body ? { body: JSON.stringify(request.body) } : {}),
    });
    ({ status, headers } = response);
    text = await response.text();
    if (name === "message") {
      const { key, chatId } = request;
      const { data, code, details, meta } = Object(parse(text));
      const told = compact({ data, code, details, operationId: meta?.operationId });
      door.trace?.("client", { at, key, chatId, status, told });
    }
  } catch (error) {
    const isOver = error instanceof Error && error.name === "TimeoutError";
    if (isOver && patience === 20_000 && !door.wasStopped(instance))
      ledger.breaks("undocumented answers", `${name}: no answer in ${patience} ms`);
    if (name === "message") ledger.count(isOver ? "(client left)" : "(connection lost)");
    return { kind: "again", why: String(error), afterMs: isOver ? 0 : 100 };
  }
  // A stopped instance gives up what it was reading, too: Node answers 408 without a body.
  const isOwn = status === 408 ? text === "" : OwnAnswer.safeParse(parse(text)).success;
  if ([408, 500, 503].includes(status) && isOwn && door.wasStopped(instance)) {
    if (name === "message") ledger.count("(API Gateway's own)");
    return { kind: "again", why: "the instance was stopped", afterMs: 100 };
  }
  return judge(name, status, headers, text, ledger);
}

function judge<N extends Name>(name: N, status: number, headers: Headers, text: string, ledger: Ledger): Told<N> {
  const undocumented = (why: string): Told<N> => {
    ledger.breaks("undocumented answers", `${name}: ${status} ${why}: ${text.slice(0, 300)}`);
    return { kind: "again", why, afterMs: 200 };
  };
  const body = parse(text);
  if (status === 200) {
    const success = Success.safeParse(body);
    if (!success.success) return undocumented("not our envelope");
    const data = routes[name].data.safeParse(success.data.data);
    if (!data.success) return undocumented(`not the route's data (${data.error.issues[0]?.path.join(".")})`);
    const isReplay = headers.get("idempotent-replayed") === "true";
    return { kind: "done", data: data.data as Data<N>, meta: success.data.meta, isReplay };
  }

  const failure = Failure.safeParse(body);
  if (!failure.success) return undocumented("not our envelope");
  const { code, details, retryAfter } = failure.data;
  if (name === "message") ledger.count(details?.outcome === "unknown" ? `${code} (outcome unknown)` : code);
  const outcome = code === "MESSAGE_SEND_FAILED" && status === 504 ? details?.outcome : undefined;
  const isUnknown = outcome === "unknown" || outcome === "undecided";
  if (status !== errors[code].status && !isUnknown) return undocumented("another status than the table's");
  if (name === "message" && code === "CHAT_ENDED") return { kind: "ended" };
  if (outcome === "undecided") return { kind: "undecided" };
  if (!passing[name].includes(code) && !passingAnywhere.includes(code)) return undocumented("unexpected here");
  const header = headers.get("retry-after");
  if ((header === null) !== (retryAfter === undefined)) return undocumented("Retry-After in one place only");
  if (status === 409 && retryAfter === undefined) return undocumented("busy for nobody knows how long");
  return { kind: "again", why: code, afterMs: (retryAfter ?? 1) * 1_000 * hurry };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
