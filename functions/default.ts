import { publicEndpoint } from "../lib/api/chain.ts";
import { route } from "../lib/api/routes/default.ts";
import { methodsOf } from "../lib/api/routes.ts";
import { ApiError } from "../lib/platform/errors.ts";

/**
 * Answers what no route matches: 404, or 405 if only the method is wrong. API Gateway's HTTP APIs have no 405
 * themselves.
 */
export const handler = publicEndpoint(route).handler(async ({ request }) => {
  const allow = methodsOf(request.path);
  // With a $default route, API Gateway may pass browsers' preflights on, which need a 2xx. It adds the CORS headers
  // itself, so that this answer allows nothing to foreign origins.
  if (request.method === "OPTIONS" && allow.length > 0) return { data: { allow } };
  // Uptime monitors use HEAD. API Gateway sends no body.
  if (request.method === "HEAD" && allow.includes("HEAD")) return { data: { allow } };
  // If a route has this path and method and was still not matched, the path has escaped slashes, which separate no
  // segments.
  const isWrongMethod = allow.length > 0 && !allow.includes(request.method);
  throw isWrongMethod ? new ApiError("METHOD_NOT_ALLOWED", { details: { allow } }) : new ApiError("NOT_FOUND");
});
