import type * as z from "zod";
import type { Actor, Permission } from "../access/membership.ts";
import type { TenantContext } from "../access/tenant.ts";
import type { Cached } from "../chat/cache.ts";
import type { IdempotencyKey } from "../chat/model.ts";
import type { AnswerHead } from "../platform/compress.ts";
import type { Deadline } from "../platform/deadline.ts";
import type { RequestLog } from "../platform/logger.ts";
import type { Counts } from "./middleware/limit.ts";

/** One row of the table in routes.ts. */
export interface Route {
  /** The row's key: the file in functions/, the operation in logs, the limit's setting (RATE_LIMIT_<NAME>). */
  name: string;
  method: "GET" | "POST" | "ANY";
  path: `/${string}` | "$default";
  /** HEAD works like GET, without a body. API Gateway has no route for it: functions/default.ts answers. */
  answersHead?: true;
  /** A heading for the API reference. */
  summary: string;
  /** The envelope's `message` on success. */
  message: string;
  /** What the caller needs in the path's subaccount. Absent: the route is public. */
  permission?: Permission;
  /** Called by Retell, with its signature over the raw body in place of a token. */
  signed?: true;
  /** Per subaccount. */
  limit?: { requests: number; perSeconds: number };
  params?: z.ZodType<{ subaccountId: string }>;
  query?: z.ZodType;
  body?: z.ZodType;
  /** What `data` holds on success: clients may rely on it, tests parse with it. */
  data: z.ZodType;
  /** What `meta` holds besides operationId and duration. */
  meta?: z.ZodType;
  /** Whether it calls Retell, so that the account is read along with the limits. */
  usesRetell?: boolean;
  /** The Lambda's memory. More memory is more CPU. */
  memory: `${number} MB`;
  /** The Lambda's time, in seconds. Absent: 29, which leaves the gateway, that gives up after 30, our answer. */
  timeoutSeconds?: number;
}

/** A row that asks for a permission in a subaccount: the chain guards it. */
export type GuardedRoute = Route & { permission: Permission; params: z.ZodType<{ subaccountId: string }> };

/** A route as API Gateway names it. */
export function routeKey({ method, path }: Pick<Route, "method" | "path">): string {
  return path === "$default" ? path : `${method} ${path}`;
}

type Parsed<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined;

/** What a handler gets: by then the caller is known and allowed, and the input is parsed. */
export interface Call<R extends Route = Route> {
  params: Parsed<R["params"]>;
  query: Parsed<R["query"]>;
  body: Parsed<R["body"]>;
  actor: Actor;
  /** What the caller's Idempotency-Key stands for, if there is one. */
  idempotency: IdempotencyKey | undefined;
  /** Refuses what the caller may not do, where an endpoint asks for more than its row says. */
  require(permission: Permission): void;
  /** The subaccount and its database. */
  tenant: TenantContext;
  /** What the cache holds under the key that the endpoint named; undefined when it named none. */
  cached: Cached | undefined;
  /** The body as it was signed, of a signed route. */
  rawBody: string;
  /** What was asked for: only of use to what answers for routes that do not exist. */
  request: { method: string; path: string };
  operationId: string;
  log: RequestLog;
  deadline: Deadline;
}

/** What a handler returns: parts to be written as JSON, or an answer from the cache, which already is. */
export type Reply<R extends Route = Route> =
  | {
      data: z.input<R["data"]>;
      /** What `meta` says of the data; it is cached along with it. */
      page?: Record<string, unknown>;
      /** What `meta` says of this request. */
      meta?: Record<string, unknown>;
      /** Keeps the answer for those who ask next. */
      fill?: Cached["fill"] | undefined;
      /** It is the answer of an earlier request with the same Idempotency-Key. */
      isReplay?: boolean;
      answer?: never;
    }
  | { answer: AnswerHead; meta: Record<string, unknown>; data?: never };

/** What the rules of the chain know of a request so far; it travels in Middy's `request.internal`. */
export interface RequestState {
  /** By performance.now(). */
  startedAt: number;
  request: { method: string; path: string };
  operationId: string;
  log: RequestLog;
  deadline: Deadline;
  /** Whether the client takes answers compressed. */
  takesGzip: boolean;
  /** Response headers, filled on the way. */
  headers: Record<string, string>;
  actor?: Actor;
  params?: { subaccountId: string; chatId?: string };
  query?: unknown;
  body?: unknown;
  rawBody?: string;
  /** The Idempotency-Key, as it was sent. */
  key?: string;
  /** Started by `limitUser` and `limitSubaccount`, judged by `authorize` (or `validate`, of what it refuses). */
  counts?: Counts;
  /** Started by the endpoint. */
  cached?: Promise<Cached>;
  account?: Promise<string | null>;
  require?: (permission: Permission) => void;
  tenant?: TenantContext;
  /** Work that nothing waits for until the answer leaves: a Lambda is frozen then, and would leave it half done. */
  trailing: Promise<unknown>[];
}
