import middy from "@middy/core";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from "aws-lambda";
import * as cache from "./chat/cache.ts";
import { ApiError } from "./errors.ts";
import { authenticate } from "./middleware/authenticate.ts";
import { authorize } from "./middleware/authorize.ts";
import type { ChatEvent, ChatResult, Internal, Rule } from "./middleware/chain.ts";
import { limit } from "./middleware/limit.ts";
import { respond } from "./middleware/respond.ts";
import { validate } from "./middleware/validate.ts";
import { prefetch } from "./retell/account.ts";
import type { Call, Progress, Reply, Route } from "./route.ts";

/** How API Gateway calls one of our functions. */
export type Handler = (event: APIGatewayProxyEventV2, context: Context) => Promise<APIGatewayProxyStructuredResultV2>;

interface Options<R extends Route> {
  /** Where the answer may stand in the cache, if this call may be answered from there. Read along with the limits. */
  cached?: (call: Pick<Call<R>, "params" | "query">) => cache.Entry | undefined;
}

/**
 * Wraps what an endpoint does in the one chain that all of them share:
 * respond, authenticate, validate, limit, authorize, and then the handler.
 */
export function endpoint<const R extends Route>(route: R, options: Options<R> = {}) {
  return {
    handler(run: (call: Call<R>) => Promise<Reply<R>>): Handler {
      const chain = middy<ChatEvent, ChatResult, Error, Context, Internal>({
        timeoutEarlyInMillis: 2_000, // of the function's 29 s: what is left to answer 504 ourselves
        timeoutEarlyResponse: () => {
          throw new ApiError("TIMEOUT");
        },
      }).use(respond(route));

      if (route.permission) {
        chain
          .use(authenticate())
          .use(validate(route))
          .use(readAhead(route, options))
          .use(limit(route))
          .use(authorize(route, route.permission));
      }
      // Middy hands its handler the event: by now that is the call, and nobody needs the event any more.
      chain.before(async (request) => {
        request.event = (await toCall(request.internal.progress)) as never;
      });
      return chain.handler(run as never) as unknown as Handler;
    },
  };
}

/** Starts the reads that the handler will want. Nothing read here leaves before the verdict. */
function readAhead<R extends Route>(route: R, { cached }: Options<R>): Rule {
  return {
    before: ({ internal: { progress } }) => {
      const entry = cached?.(progress as never);
      if (entry) progress.cached = cache.read(entry, progress.log);
      if (route.usesRetell && progress.params) progress.account = prefetch(progress.params.subaccountId);
    },
  };
}

/** By the chain's end every rule has left its part: what a route does not have stays undefined in its types too. */
async function toCall(progress: Progress): Promise<Call> {
  const { params, query, body, actor, require, tenant, request, operationId, log, deadline } = progress;
  const cached = await progress.cached;
  if (cached) log.fields.cache = cached.hit ? "hit" : "miss";
  if (tenant) tenant.account = progress.account;
  return { params, query, body, actor, require, tenant, cached, request, operationId, log, deadline } as Call;
}
