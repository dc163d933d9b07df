import type * as z from "zod";
import type { Permission } from "../access/membership.ts";

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
  /** The Lambda's timeout. Default 29, so that we answer before API Gateway's 30 s timeout. */
  timeoutSeconds?: number;
}

/** A row that asks for a permission in a subaccount: the chain guards it. */
export type GuardedRoute = Route & { permission: Permission; params: z.ZodType<{ subaccountId: string }> };

/** A route as API Gateway names it. */
export function routeKey({ method, path }: Pick<Route, "method" | "path">): string {
  return path === "$default" ? path : `${method} ${path}`;
}
