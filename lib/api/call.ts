import type { MiddlewareObj, Request } from "@middy/core";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from "aws-lambda";
import type * as z from "zod";
import type { LimitResult } from "../access/limits.ts";
import type { Actor, Permission } from "../access/membership.ts";
import type { TenantContext } from "../access/tenant.ts";
import type { Cached } from "../chat/cache.ts";
import type { Begun } from "../chat/context.ts";
import type { IdempotencyKey } from "../chat/model.ts";
import type { AnswerHead } from "../platform/compress.ts";
import type { Deadline } from "../platform/deadline.ts";
import type { RequestLog } from "../platform/logger.ts";
import type { Route } from "./route.ts";

type Parsed<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined;

/** What a handler gets: the caller is authenticated and allowed, and the input is parsed. */
export interface Call<R extends Route = Route> {
  params: Parsed<R["params"]>;
  query: Parsed<R["query"]>;
  body: Parsed<R["body"]>;
  actor: Actor;
  /** The digests of the caller's Idempotency-Key; undefined without one. */
  idempotency: IdempotencyKey | undefined;
  /** Checks a permission beyond that of the route. @throws PERMISSION_DENIED */
  requirePermission(permission: Permission): void;
  /** The subaccount and its database. */
  tenant: TenantContext;
  /** The cache entry under the key that the endpoint named; undefined when it named none. */
  cached: Cached | undefined;
  /** The body as it was signed. Only signed routes have it. */
  rawBody: string;
  /** For functions/default.ts, which answers for routes that do not exist. */
  request: { method: string; path: string };
  operationId: string;
  log: RequestLog;
  deadline: Deadline;
  /** The handler notes what it has stored, so that any error tells of it. */
  begun: Begun;
}

/** What a handler returns: data to be serialized, or an answer from the cache, which already is. */
export type Reply<R extends Route = Route> =
  | {
      data: z.input<R["data"]>;
      /** Fields of `meta` about the data. Cached along with it. */
      page?: Record<string, unknown>;
      /** Fields of `meta` about this request. `stale`: the data is not current, and the answer has no ETag. */
      meta?: Record<string, unknown>;
      /** Stores the answer in the cache. */
      fill?: Cached["fill"] | undefined;
      /** Whether it repeats the answer of an earlier request with the same Idempotency-Key. */
      isReplay?: boolean;
      answer?: never;
    }
  | { answer: AnswerHead; meta: Record<string, unknown>; data?: never }
  | { document: PublicDocument; answer?: never; data?: never }
  | { file: Download; answer?: never; data?: never };

/** JSON that is the same for everyone. */
export interface PublicDocument {
  text: string;
  /** Quoted, as in the header. */
  etag: string;
}

/** A file that the client saves. */
export interface Download {
  /** Needs no quoting in a header, and is allowed on every system. */
  name: string;
  /** Its media type, without the charset, which is always UTF-8. */
  type: string;
  content: string | Buffer;
}

/** The counts of one request against its limits. */
export interface LimitResults {
  user: Promise<LimitResult>;
  /** Started early only for a caller who is known to be allowed: nobody else may use up a tenant's limit. */
  subaccount?: Promise<LimitResult> | undefined;
}

/** What the middleware know of a request so far. */
export interface RequestState {
  /** By performance.now(). */
  startedAt: number;
  request: { method: string; path: string };
  operationId: string;
  log: RequestLog;
  deadline: Deadline;
  begun: Begun;
  /** The ETags that the client has. */
  ifNoneMatch: string | undefined;
  /** Whether the client accepts gzip. */
  acceptsGzip: boolean;
  /** Response headers. Middleware add theirs. */
  headers: Record<string, string>;
  actor?: Actor;
  params?: { subaccountId: string; chatId?: string };
  query?: unknown;
  body?: unknown;
  rawBody?: string;
  /** The Idempotency-Key, as it was sent. */
  key?: string;
  /** Started by `limitUser` and `limitSubaccount`, enforced by `authorize`, or by `validate` before it refuses. */
  counts?: LimitResults;
  /** Started by `prefetch` of endpoint.ts. */
  cached?: Promise<Cached>;
  cachedAccount?: Promise<string | null>;
  requirePermission?: (permission: Permission) => void;
  tenant?: TenantContext;
  /** Work that must end before the answer leaves, because Lambda freezes the process then. */
  trailing: Promise<unknown>[];
}

export type Event = APIGatewayProxyEventV2;
/** What comes out of the chain: a handler's reply, and after `respond`, API Gateway's result. */
export type Result = Reply | APIGatewayProxyStructuredResultV2;
/** What Middy carries from one middleware to the next. */
export type Internal = { state: RequestState };

/** One invocation on its way through the chain. */
export type ChatRequest = Request<Event, Result, Error, Context, Internal>;

/** One step of the chain, as Middy takes it. */
export type Middleware = MiddlewareObj<Event, Result, Error, Context, Internal>;

/** How API Gateway calls one of our functions. */
export type Handler = (event: Event, context: Context) => Promise<APIGatewayProxyStructuredResultV2>;
