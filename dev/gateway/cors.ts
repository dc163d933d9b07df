import type { OutgoingHttpHeaders } from "node:http";
import { allowHeadersOf, cors, originsOf } from "../../lib/api/cors.ts";

/**
 * CORS as API Gateway speaks it for the functions behind it. It judges the origin alone: whether the method and the
 * headers will do, the browser reads from the answer.
 *
 * @see docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
 */
export class Cors {
  readonly #origins: string[];
  readonly #allowHeaders: string[];

  /**
   * @param origins CORS_ORIGINS: each an origin, or `*`, `https://*`, `http://*`.
   * @param headers CORS_HEADERS
   * @throws        Where a deployment would be refused.
   */
  constructor(origins: string | undefined, headers: string | undefined) {
    this.#origins = setting("CORS_ORIGINS", () => originsOf(origins));
    this.#allowHeaders = setting("CORS_HEADERS", () => allowHeadersOf(headers));
  }

  /** What the answer to a preflight has besides. */
  preflight(origin: string): OutgoingHttpHeaders {
    if (this.#allowed(origin) === undefined) return {};
    return {
      "access-control-allow-methods": cors.allowMethods.join(","),
      "access-control-allow-headers": this.#allowHeaders.join(","),
      "access-control-max-age": String(cors.maxAgeSeconds),
    };
  }

  /** What is added to every answer: of a strange origin, nothing. */
  headers(origin: string | undefined): OutgoingHttpHeaders {
    const allowed = origin === undefined ? undefined : this.#allowed(origin);
    if (allowed === undefined) return {};
    return {
      "access-control-allow-origin": allowed,
      "access-control-expose-headers": cors.exposeHeaders.join(","),
    };
  }

  /** Whether a page of this origin may call. */
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
