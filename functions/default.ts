import { publicEndpoint } from "../lib/api/chain.ts";
import { methodsOf, routes } from "../lib/api/routes.ts";
import { ApiError } from "../lib/platform/errors.ts";

/** What no route matches: 404, or 405 where only the method is wrong. HTTP APIs know no 405 of their own. */
export const handler = publicEndpoint(routes.default).handler(async ({ request }) => {
  const allow = methodsOf(request.path);
  // Beside a $default route API Gateway may hand it the browsers' preflights, which need a 2xx; it adds the CORS
  // headers itself, so a page of a foreign origin learns nothing by this.
  if (request.method === "OPTIONS" && allow.length > 0) return { data: { allow } };
  // Uptime monitors ask so. API Gateway sends no body with it.
  if (request.method === "HEAD" && allow.includes("HEAD")) return { data: { allow } };
  // A route that knows the method and was not taken is not what was asked for: escaped slashes make no segments.
  const isWrongMethod = allow.length > 0 && !allow.includes(request.method);
  throw isWrongMethod ? new ApiError("METHOD_NOT_ALLOWED", { details: { allow } }) : new ApiError("NOT_FOUND");
});
