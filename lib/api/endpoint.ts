import * as cache from "../chat/cache.ts";
import { readCachedAccount } from "../retell/account.ts";
import type { Call, Middleware } from "./call.ts";
import { chain, type EndpointBuilder } from "./chain.ts";
import { authenticate } from "./middleware/authenticate.ts";
import { authorize } from "./middleware/authorize.ts";
import { limitSubaccount, limitUser } from "./middleware/limit.ts";
import { signature } from "./middleware/signature.ts";
import { validate } from "./middleware/validate.ts";
import type { GuardedRoute, Route } from "./route.ts";

interface Options<R extends GuardedRoute> {
  /** Where the answer may stand in the cache, if this call may be answered from there. Read along with the limits. */
  cached?: (call: Pick<Call<R>, "params" | "query">) => cache.CacheKey | undefined;
}

/**
 * Wraps what an endpoint does in the one chain that all of them share:
 * respond, authenticate, limitUser, validate, limitSubaccount, authorize, and then the handler.
 */
export function endpoint<const R extends GuardedRoute>(route: R, options: Options<R> = {}): EndpointBuilder<R> {
  return chain(route, [
    authenticate(),
    limitUser(),
    validate(route),
    prefetch(route, options),
    limitSubaccount(route),
    authorize(route),
  ]);
}

/** The chain of what Retell itself calls: its signature stands for the token and the permission. */
export function signedEndpoint<const R extends Route & { signed: true }>(route: R): EndpointBuilder<R> {
  return chain(route, [signature(route)]);
}

/** Starts the reads that the handler will want. Nothing read here leaves before the verdict. */
function prefetch<R extends GuardedRoute>(route: R, { cached }: Options<R>): Middleware {
  return {
    before: ({ internal: { state } }) => {
      const entry = cached?.(state as never);
      if (entry) state.cached = cache.read(entry, state.log);
      if (route.usesRetell && state.params) state.account = readCachedAccount(state.params.subaccountId);
    },
  };
}
