import type * as z from "zod";
import type { Permission } from "../access/membership.ts";
import type { ErrorCode } from "../platform/errors.ts";

/** Of a function, so that we answer before API Gateway's 30 s timeout. */
export const defaultTimeoutSeconds = 29;

/** One row of the table in routes.ts: a file in routes/. */
export interface Route {
  /** The row's key. Also the file in functions/, the operation in logs, and the setting RATE_LIMIT_<NAME>. */
  name: string;
  method: "GET" | "POST" | "DELETE" | "ANY";
  path: `/${string}` | "$default";
  /** Whether HEAD is answered, without a body. API Gateway has no route for HEAD, so functions/default.ts answers. */
  answersHead?: true;
  /** Whether answers have an ETag, and If-None-Match with a current one is answered with 304. */
  hasEtag?: true;
  /** Whether a success is `data` alone, without the envelope. */
  isBare?: true;
  /** The media types of a success that is a file. `data` is the schema of the one in JSON. Default: JSON alone. */
  mediaTypes?: readonly `${string}/${string}`[];
  /** A heading for the API reference. */
  summary: string;
  /** The envelope's `message` on success. */
  message: string;
  /** The caller's permission in the path's subaccount. Absent: the route needs no token. */
  permission?: Permission;
  /** Whether Retell calls it, with a signature over the raw body in place of a token. */
  signed?: true;
  /** Per subaccount. */
  limit?: { requests: number; perSeconds: number };
  params?: z.ZodType<{ subaccountId: string }>;
  query?: z.ZodType;
  body?: z.ZodType;
  /** The schema of `data` on success. Clients may rely on it, and tests parse answers with it. */
  data: z.ZodType;
  /** Of a success. Default: 200. 202: what was asked for is done later. */
  successStatus?: 202;
  /** Fields of `meta` besides operationId, duration and time. */
  meta?: z.ZodType;
  /** The codes that its handler may answer with, besides those of the middleware and of the Retell account. */
  errors?: readonly ErrorCode[];
  /** Whether an Idempotency-Key lets it be repeated safely. */
  idempotent?: true;
  /** Whether it calls Retell. Then the account is read along with the limits. */
  usesRetell?: boolean;
  /** The Lambda's memory, which also determines its share of a CPU. */
  memory: `${number} MB`;
  /** The Lambda's timeout. Default: `defaultTimeoutSeconds`. */
  timeoutSeconds?: number;
}

/** A route that needs a permission in a subaccount. */
export type GuardedRoute = Route & { permission: Permission; params: z.ZodType<{ subaccountId: string }> };

/** A row of the table, with its own types. */
export function row<const Name extends string, const Row extends Omit<Route, "name">>(
  name: Name,
  fields: Row,
): Row & { name: Name } {
  return { ...fields, name };
}

/** A route as API Gateway names it. */
export function routeKey({ method, path }: Pick<Route, "method" | "path">): string {
  return path === "$default" ? path : `${method} ${path}`;
}
