import { accessInCaches, checkPermission, loadAccess, type Permission } from "../../access/membership.ts";
import { openTenant } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
import { loggable } from "../../platform/logger.ts";
import type { Middleware } from "../call.ts";
import type { GuardedRoute } from "../route.ts";
import { countForRoute, enforce } from "./limit.ts";

/** A pause for requests is meant to be short: a move takes seconds. */
const pausedRetrySeconds = 5;

/**
 * Awaits what was started before, and decides in this order: the user's limit, the permission, the subaccount's limit.
 * Then the pause of the subaccount, and it opens the tenant's database.
 */
export function authorize(route: GuardedRoute): Middleware {
  return {
    before: async ({ internal: { state } }) => {
      const { actor, params, counts, log } = state;
      if (!actor || !params || !counts)
        throw new Error("authorize must run after authenticate, limitUser and validate");
      const { subaccountId } = params;

      const peeked = accessInCaches(actor.id, subaccountId); // before the first await, so that Redis gets it together with the counts
      enforce(state, await counts.user, "user");

      const { access: cached, epoch, failure } = await peeked;
      if (failure !== undefined) log.warn("Permission not read from Redis", failure);
      const access = cached ?? (await log.time("mongo", loadAccess(actor.id, subaccountId, epoch, state.trailing)));
      state.requirePermission = (permission) => {
        const verdict = checkPermission(access, actor, permission, Date.now());
        if (!verdict.allowed) throw denied(verdict, permission);
      };
      state.requirePermission(route.permission);
      const agentId = (state.body as { agentId?: unknown } | undefined)?.agentId;
      if (typeof agentId === "string") log.fields.agentId = loggable(agentId);

      const counted = await (counts.subaccount ?? countForRoute(route, subaccountId));
      if (counted) enforce(state, counted, "subaccount");

      if (access.subaccount?.paused === "all")
        throw new ApiError("SUBACCOUNT_PAUSED", { retryAfter: pausedRetrySeconds });
      state.tenant = await openTenant(subaccountId, access.subaccount ?? {}, state);
      log.spent.admit = performance.now() - state.startedAt;
    },
  };
}

type Denial = { effectiveRole: string; maintenance?: string | undefined };

function denied({ effectiveRole, maintenance }: Denial, requiredPermission: Permission): ApiError {
  return new ApiError("PERMISSION_DENIED", {
    ...(maintenance === undefined ? {} : { message: maintenance }),
    details: { requiredPermission, effectiveRole },
  });
}
