import { createHash } from "node:crypto";
import type { IdempotencyKey } from "../chat/model.ts";
import type { RequestState } from "./call.ts";
import type { Route } from "./route.ts";

/** Undefined when the caller sent no key. Ids are compared as parsed: a subaccountId in capitals is the same path. */
export function idempotencyOf(
  route: Route,
  { actor, params, body, key }: Pick<RequestState, "actor" | "params" | "body" | "key">,
): IdempotencyKey | undefined {
  if (key === undefined || !actor) return undefined;
  return { id: digest([actor.id, route.name, params, key]), hash: digest(body ?? null) };
}

function digest(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value, sorted)).digest("base64url");
}

/** The order of an object's names means nothing, and a client that retries may write them in another one. */
function sorted(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
}
