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
  /** The cache key of the answer; undefined when this call must not be answered from the cache. */
  cached?: (call: Pick<Call<R>, "params" | "query">) => cache.CacheKey | undefined;
}

/**
 * The chain of every endpoint that needs a token: respond, authenticate, limitUser, validate, prefetch, limitSubaccount,
 * authorize, and then the handler.
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

/** The chain of a route that Retell calls. Its signature replaces the token and the permission. */
export function signedEndpoint<const R extends Route & { signed: true }>(route: R): EndpointBuilder<R> {
  return chain(route, [signature(route)]);
}

/** Starts the reads that the handler will need. Their results are used only after `authorize`. */
function prefetch<R extends GuardedRoute>(route: R, { cached }: Options<R>): Middleware {
  return {
    before: ({ internal: { state } }) => {
      const entry = cached?.(state as never); // `validate` has parsed params and query by this route's schemas
      if (entry) state.cached = cache.read(entry, state.log);
      if (route.usesRetell && state.params) state.cachedAccount = readCachedAccount(state.params.subaccountId);
    },
  };
}
