import type { IncomingMessage } from "node:http";

/**
 * Says why a request is refused; undefined for one that is not. A web page can make its own host name resolve to
 * 127.0.0.1 (DNS rebinding) and so reach what listens there: its name stands in Host, its origin in Origin. Programs
 * other than browsers send no Origin.
 */
export function refusalOf({ headers }: IncomingMessage): string | undefined {
  const { host = "", origin } = headers;
  if (!/^[\w.:[\]-]+$/.test(host) || !isLoopback(`http://${host}`))
    return "Host must be localhost or a loopback address";
  return origin === undefined || isLoopback(origin) ? undefined : "This Origin is not allowed";
}

/** URL brings addresses into one form: `127.1` is `127.0.0.1`. */
function isLoopback(url: string): boolean {
  const hostname = URL.canParse(url) ? new URL(url).hostname : "";
  return /^((.+\.)?localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}
