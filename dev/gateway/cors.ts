import type { OutgoingHttpHeaders } from "node:http";
import { cors } from "../../lib/cors.ts";

/**
 * CORS as API Gateway speaks it for the functions behind it. It judges the origin alone: whether the method and the
 * headers will do, the browser reads from the answer.
 *
 * @see docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
 */
export class Cors {
  readonly #origins: string[];

  /** @param origins Each an origin, or `*`, `https://*`, `http://*`. */
  constructor(origins: string[]) {
    this.#origins = origins;
  }

  /** What the answer to a preflight has besides. */
  preflight(origin: string): OutgoingHttpHeaders {
    if (this.#allowed(origin) === undefined) return {};
    return {
      "access-control-allow-methods": cors.allowMethods.join(","),
      "access-control-allow-headers": cors.allowHeaders.join(","),
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
