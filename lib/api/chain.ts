import middy from "@middy/core";
import type { Context } from "aws-lambda";
import { answerMarginMs } from "../platform/deadline.ts";
import { ApiError } from "../platform/errors.ts";
import type { Call, Event, Handler, Internal, Middleware, Reply, RequestState, Result } from "./call.ts";
import { idempotencyOf } from "./idempotency.ts";
import { respond } from "./middleware/respond.ts";
import type { Route } from "./route.ts";

/** An endpoint without its handler yet. Curried, so that TypeScript keeps the literal types of what a handler returns. */
export interface EndpointBuilder<R extends Route> {
  handler(run: (call: Call<R>) => Promise<Reply<R>>): Handler;
}

/** The chain of a route that needs no token. It loads neither the database nor the cache: those come with `endpoint`. */
export const publicEndpoint = <const R extends Route>(route: R): EndpointBuilder<R> => chain(route, []);

/** Runs `respond` and then the given middleware before an endpoint's handler. */
export function chain<const R extends Route>(route: R, middleware: Middleware[]): EndpointBuilder<R> {
  return {
    handler(run) {
      const handle = middy<Event, Result, Error, Context, Internal>({
        timeoutEarlyInMillis: answerMarginMs, // so that we answer 504 before Lambda ends the function
        timeoutEarlyResponse: () => {
          // The handler may have changed something before it was cut off, unless it only reads.
          throw new ApiError("TIMEOUT", route.method === "GET" ? {} : { details: { outcome: "unknown" } });
        },
      }).use([respond(route), ...middleware]);
      // Middy passes request.event to its handler and nothing else, so the call takes the event's place.
      handle.before(async (request) => {
        Object.assign(request, { event: await toCall(route, request.internal.state) });
      });
      handle.handler((call: unknown) => run(call as Call<R>));
      return handle as Handler; // `respond` has turned the Reply into API Gateway's result
    },
  };
}

async function toCall(route: Route, state: RequestState): Promise<Call> {
  const { tenant, log, cachedAccount, ...rest } = state;
  const cached = await state.cached;
  if (cached) log.fields.cache = cached.hit ? "hit" : "miss";
  if (tenant) tenant.cachedAccount = cachedAccount;
  // What the route's middleware have not set is undefined in the handler's types, too.
  return { ...rest, tenant, log, cached, idempotency: idempotencyOf(route, state) } as Call;
}
