/**
 * Which pages of other origins may call the API, and which headers of its answers they can read. Each deployment sets
 * the origins (`CORS_ORIGINS`) and more request headers (`CORS_HEADERS`). API Gateway answers preflights and adds the
 * CORS headers; it drops those of a function. Headers of asynchronous requests are allowed ahead of their use: apps and
 * deployments need no change then.
 */
export const cors = {
  allowMethods: ["GET", "POST", "PUT", "DELETE"],
  allowHeaders: [
    "authorization",
    "content-type",
    "idempotency-key",
    "x-operation-id",
    "prefer",
    "if-none-match",
    // Tracing libraries and XMLHttpRequest wrappers add these to each request.
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "x-requested-with",
  ],
  exposeHeaders: [
    "x-operation-id",
    "retry-after",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-mode",
    "idempotent-replayed",
    "etag",
    "content-disposition",
    "date",
    "location",
    "preference-applied",
  ],
  maxAgeSeconds: 86_400,
};

/**
 * The origins of `CORS_ORIGINS` as browsers write them in an Origin header, which is compared byte by byte. Default: all.
 *
 * @throws An Error that names the entry that no Origin header can match by its position, without its value.
 */
export function originsOf(text: string | undefined): string[] {
  const entries = listOf(text?.trim() || "*");
  if (entries.length === 0) throw new Error("Must name an origin: commas alone let no page call");
  return [...new Set(entries.map(normalized))];
}

/**
 * The request headers that a preflight allows: our own and those of `CORS_HEADERS`.
 *
 * @throws An Error that names the entry that is no header name by its position, without its value.
 */
export function allowHeadersOf(text: string | undefined): string[] {
  const added = listOf(text ?? "").map((name, index) => {
    if (/^[\w!#$%&'*+.^`|~-]+$/.test(name)) return name.toLowerCase();
    throw new Error(`Must be header names, separated by commas: entry ${index + 1} is none`);
  });
  return [...new Set([...cors.allowHeaders, ...added])];
}

function listOf(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

/** The only patterns that API Gateway supports. */
const patterns = ["*", "http://*", "https://*"];
const hostForm = /^(\[[\da-f:.]+\]|[\w.-]+)(:\d+)?$/;
/** Schemes whose URLs are not pages. */
const withoutPages = ["ws:", "wss:", "ftp:", "file:"];

function normalized(entry: string, index: number): string {
  if (patterns.includes(entry.toLowerCase())) return entry.toLowerCase();
  const refused = (why: string) =>
    new Error(`Entry ${index + 1} can never match: ${why}; an origin is a scheme, a host and a port`);
  if (/\s/.test(entry)) throw refused("it has white space inside");
  if (!/^[a-z][a-z\d+.-]*:\/\//i.test(entry)) throw refused("it has no scheme");
  const [, authority = "", rest = ""] = /^[^/]+\/\/([^/?#\\]*)(.*)$/.exec(entry) ?? [];
  if (authority.includes("@")) throw refused("it has a user");
  if (authority.includes("*")) throw refused("a * may only stand for all hosts");
  if (rest !== "" && rest !== "/") throw refused("it has a path, a query or a fragment");
  const url = URL.canParse(entry) ? new URL(entry) : undefined;
  const host = url?.host.toLowerCase() ?? ""; // without the default port; the parser lowers the case only of http URLs
  if (!url || !hostForm.test(host) || withoutPages.includes(url.protocol)) throw refused("it is no address of a page");
  return `${url.protocol}//${host}`; // `url.origin` is "null" for custom schemes of apps
}
