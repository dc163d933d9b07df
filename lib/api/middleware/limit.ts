import { countRequest, knownRefusal, type LimitResult, routeLimit, userLimit } from "../../access/limits.ts";
import { accessInMemory, checkPermission } from "../../access/membership.ts";
import { ApiError } from "../../platform/errors.ts";
import type { Middleware, RequestState } from "../call.ts";
import type { GuardedRoute, Route } from "../route.ts";

/**
 * Counts every request with a valid token against the user's limit, also one that is refused later. A user who is known
 * to be over the limit is refused at once.
 *
 * The count is not awaited here, so that it is sent together with the permission and the cache read.
 */
export function limitUser(): Middleware {
  return {
    before: ({ internal: { state } }) => {
      const { actor } = state;
      if (!actor) throw new Error("limitUser must run after authenticate");
      const limit = userLimit();
      const over = knownRefusal(limit, actor.id);
      if (over) enforce(state, over, "user");
      state.counts = { user: countRequest(limit, actor.id) };
    },
  };
}

/** Counts against the subaccount's limit, if this instance knows that the caller is allowed. Else `authorize` does. */
export function limitSubaccount(route: GuardedRoute): Middleware {
  return {
    before: ({ internal: { state } }) => {
      const { actor, params, counts } = state;
      if (!actor || !params || !counts) throw new Error("limitSubaccount must run after limitUser and validate");
      const access = accessInMemory(actor.id, params.subaccountId);
      const isAllowed = access && checkPermission(access, actor, route.permission, Date.now()).allowed;
      if (isAllowed) counts.subaccount = countForRoute(route, params.subaccountId);
    },
  };
}

/** Counts against the endpoint's own limit, per subaccount. */
export function countForRoute(route: Route, subaccountId: string): Promise<LimitResult> | undefined {
  const limit = routeLimit(route);
  return limit && countRequest(limit, subaccountId);
}

/**
 * Writes a result into the answer's headers, unless they already have that of a tighter limit.
 *
 * @param of Whose limit it is.
 * @throws RATE_LIMIT_EXCEEDED
 */
export function enforce(state: RequestState, result: LimitResult, of: "user" | "subaccount"): void {
  const { success, limit, remaining, reset, degraded } = result;
  const { headers, log } = state;
  const seconds = Math.max(1, Math.ceil((reset - Date.now()) / 1_000));

  const shown = headers["ratelimit-remaining"];
  if (shown === undefined || remaining < Number(shown) || !success) {
    headers["ratelimit-limit"] = String(limit);
    headers["ratelimit-remaining"] = String(remaining);
    headers["ratelimit-reset"] = String(seconds);
  }
  if (degraded !== undefined) {
    if (!headers["x-ratelimit-mode"]) log.metrics.add("DegradedLimits"); // once for both limits
    headers["x-ratelimit-mode"] = "degraded";
    log.fields.limits = "degraded";
    log.warn("Rate limits degraded: this instance counts by itself", degraded);
  }
  if (!success) throw new ApiError("RATE_LIMIT_EXCEEDED", { retryAfter: seconds, details: { limit: of } });
}
