import type { OutgoingHttpHeaders } from "node:http";
import { allowHeadersOf, cors, originsOf } from "../../lib/api/cors.ts";

/**
 * CORS as API Gateway does it for the functions behind it. It checks only the origin: the browser compares method and
 * headers with the answer.
 *
 * @see docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
 */
export class Cors {
  readonly #origins: string[];
  readonly #allowHeaders: string[];

  /**
   * @param origins CORS_ORIGINS: each an origin, or `*`, `https://*`, `http://*`.
   * @param headers CORS_HEADERS
   * @throws        For values that a deployment refuses.
   */
  constructor(origins: string | undefined, headers: string | undefined) {
    this.#origins = setting("CORS_ORIGINS", () => originsOf(origins));
    this.#allowHeaders = setting("CORS_HEADERS", () => allowHeadersOf(headers));
  }

  /** The additional headers of the answer to a preflight. */
  preflight(origin: string): OutgoingHttpHeaders {
    if (this.#allowed(origin) === undefined) return {};
    return {
      "access-control-allow-methods": cors.allowMethods.join(","),
      "access-control-allow-headers": this.#allowHeaders.join(","),
      "access-control-max-age": String(cors.maxAgeSeconds),
    };
  }

  /** The headers that are added to every answer; none for an origin that is not allowed. */
  headers(origin: string | undefined): OutgoingHttpHeaders {
    const allowed = origin === undefined ? undefined : this.#allowed(origin);
    if (allowed === undefined) return {};
    return {
      "access-control-allow-origin": allowed,
      "access-control-expose-headers": cors.exposeHeaders.join(","),
    };
  }

  /** Whether pages of this origin may call. */
  allows(origin: string): boolean {
    return this.#allowed(origin) !== undefined;
  }

  #allowed(origin: string): string | undefined {
    if (this.#origins.includes("*")) return "*";
    const matches = (one: string) => (one.endsWith("*") ? origin.startsWith(one.slice(0, -1)) : one === origin);
    return this.#origins.some(matches) ? origin : undefined;
  }
}

function setting<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : error}`);
  }
}
