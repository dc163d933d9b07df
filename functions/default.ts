import { compose } from "../lib/chain.ts";
import { ApiError } from "../lib/errors.ts";
import { methodsOf, routes } from "../lib/routes.ts";

/** What no route matches: 404, or 405 where only the method is wrong. HTTP APIs know no 405 of their own. */
export const handler = compose(routes.default).handler(async ({ request }) => {
  const allow = methodsOf(request.path);
  throw allow.length > 0 ? new ApiError("METHOD_NOT_ALLOWED", { details: { allow } }) : new ApiError("NOT_FOUND");
});
