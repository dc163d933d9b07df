import type { Route } from "../../lib/api/route.ts";
import { routes } from "../../lib/api/routes.ts";

/** The route of a request, and its path parameters. */
export interface Match {
  route: Route;
  /** Percent-decoded; absent when the route has none. */
  pathParameters?: Record<string, string>;
}

interface Pattern {
  route: Route;
  /** A parameter is its name in braces. */
  segments: string[];
}

/** Finds the most specific route of a method and a path, else `$default`. */
export type Router = (method: string, path: string) => Match;

/**
 * Paths must match exactly, in case and slashes. A path is split before it is decoded, so an escaped slash does not
 * separate segments; a parameter with a slash does not match.
 *
 * @see docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html, "Routing API requests"
 */
export function routerOf(rows: Route[], fallback: Route): Router {
  const patterns = rows
    .filter(({ path }) => path !== "$default")
    .map((route) => ({ route, segments: route.path.split("/") }))
    .sort(bySpecificity);

  return (method, path) => {
    const segments = path.split("/").map(decode);
    for (const { route, segments: wanted } of patterns) {
      if (route.method !== "ANY" && route.method !== method) continue;
      const pathParameters = match(wanted, segments);
      if (pathParameters) return Object.keys(pathParameters).length > 0 ? { route, pathParameters } : { route };
    }
    return { route: fallback };
  };
}

/** Finds the route in lib/api/routes.ts. */
export const findRoute = routerOf(Object.values<Route>(routes), routes.default);

function match(wanted: string[], segments: string[]): Record<string, string> | undefined {
  if (wanted.length !== segments.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, name] of wanted.entries()) {
    const segment = segments[index] ?? "";
    if (!isParameter(name)) {
      if (name !== segment) return undefined;
    } else {
      if (segment === "" || segment.includes("/")) return undefined;
      parameters[name.slice(1, -1)] = segment;
    }
  }
  return parameters;
}

/** Compares from the left: a literal segment comes before a parameter, then a named method before ANY. */
function bySpecificity(one: Pattern, other: Pattern): number {
  for (const [index, segment] of one.segments.entries()) {
    const order = Number(isParameter(segment)) - Number(isParameter(other.segments[index] ?? ""));
    if (order !== 0) return order;
  }
  return Number(one.route.method === "ANY") - Number(other.route.method === "ANY");
}

function isParameter(segment: string): boolean {
  return segment.startsWith("{");
}

/** Percent-decodes a text. A text with an invalid escape stays unchanged. */
export function decode(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
