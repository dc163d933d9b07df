import type { IncomingMessage } from "node:http";

/**
 * Why a request is refused, or undefined if it is served. A web page can make its own host name resolve to 127.0.0.1
 * (DNS rebinding) and so reach a local server: the name is in Host, and the page's origin is in Origin. Programs other
 * than browsers send no Origin.
 */
export function hostRefusal({ headers: { host = "", origin } }: IncomingMessage): string | undefined {
  if (!/^[\w.:[\]-]+$/.test(host) || !isLoopback(`http://${host}`)) {
    return "Host must be localhost or a loopback address";
  }
  return origin === undefined || isLoopback(origin) ? undefined : "This Origin is not allowed";
}

/** URL normalizes addresses: `127.1` becomes `127.0.0.1`. */
function isLoopback(url: string): boolean {
  const hostname = URL.canParse(url) ? new URL(url).hostname : "";
  return /^((.+\.)?localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}
