import middy, { type MiddlewareObj, type Request } from "@middy/core";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from "aws-lambda";
import { ApiError } from "../platform/errors.ts";
import { idempotencyOf } from "./idempotency.ts";
import { respond } from "./middleware/respond.ts";
import type { Call, Reply, RequestState, Route } from "./route.ts";

type ChatEvent = APIGatewayProxyEventV2;
type ChatResult = Reply | APIGatewayProxyStructuredResultV2;
type Internal = { progress: RequestState };

/** One invocation on its way through the chain; what the rules learn of it stands in `internal.progress`. */
export type ChatRequest = Request<ChatEvent, ChatResult, Error, Context, Internal>;

/** One rule of the chain, as Middy takes it. */
export type Middleware = MiddlewareObj<ChatEvent, ChatResult, Error, Context, Internal>;

/** How API Gateway calls one of our functions. */
export type Handler = (event: APIGatewayProxyEventV2, context: Context) => Promise<APIGatewayProxyStructuredResultV2>;

/** An endpoint that still lacks what it does. Curried, so that TypeScript keeps the literal types of what is returned. */
export interface Unfinished<R extends Route> {
  handler(run: (call: Call<R>) => Promise<Reply<R>>): Handler;
}

/**
 * Puts rules in front of what an endpoint does, and `respond` around all of it. By itself it is the whole chain of a
 * public route, which then loads neither database nor cache: those come with `endpoint`.
 */
export function compose<const R extends Route>(route: R, rules: Middleware[] = []): Unfinished<R> {
  return {
    handler(run) {
      const chain = middy<ChatEvent, ChatResult, Error, Context, Internal>({
        timeoutEarlyInMillis: 2_000, // of the function's 29 s: what is left to answer 504 ourselves
        timeoutEarlyResponse: () => {
          // A handler that was cut off may have changed something; one that only reads has not.
          throw new ApiError("TIMEOUT", route.method === "GET" ? {} : { details: { outcome: "unknown" } });
        },
      }).use([respond(route), ...rules]);
      // Middy hands its handler the event: by now that is the call, and nobody needs the event any more.
      chain.before(async (request) => {
        request.event = (await toCall(route, request.internal.progress)) as never;
      });
      return chain.handler(run as never) as unknown as Handler;
    },
  };
}

/** By the chain's end every rule has left its part: what a route does not have stays undefined in its types too. */
async function toCall(route: Route, progress: RequestState): Promise<Call> {
  const { params, query, body, rawBody, actor, require, tenant, request, operationId, log, deadline } = progress;
  const cached = await progress.cached;
  if (cached) log.fields.cache = cached.hit ? "hit" : "miss";
  if (tenant) tenant.account = progress.account;
  const idempotency = idempotencyOf(route, progress);
  return {
    params,
    query,
    body,
    rawBody,
    actor,
    idempotency,
    require,
    tenant,
    cached,
    request,
    operationId,
    log,
    deadline,
  } as Call;
}
