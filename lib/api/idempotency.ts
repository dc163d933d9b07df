import { createHash } from "node:crypto";
import type { IdempotencyKey } from "../chat/model.ts";
import type { RequestState } from "./call.ts";
import type { Route } from "./route.ts";

/** Undefined when the caller sent no key. The ids in it are the parsed ones: a subaccountId in capitals is the same. */
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

/** The order of JSON keys does not matter: a client may write them in another order when it retries. */
function sorted(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
}
