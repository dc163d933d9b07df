import type { IncomingMessage } from "node:http";

/**
 * Why a local service does not serve a request; undefined where it does. A web page can make its own host name resolve
 * to 127.0.0.1 (DNS rebinding), and so reach what listens there: its name stands in Host, and its origin in Origin.
 * Programs other than browsers send no Origin.
 *
 * @param allows Which other origins than this machine's may ask. Default: none.
 */
export function refusalOf({ headers }: IncomingMessage, allows = (_origin: string) => false): string | undefined {
  const { host = "", origin } = headers;
  if (!/^[\w.:[\]-]+$/.test(host) || !isLoopback(`http://${host}`))
    return "Host must be localhost or a loopback address";
  if (origin !== undefined && !isLoopback(origin) && !allows(origin)) return "This Origin is not allowed";
  return undefined;
}

/** URL brings addresses into one form: `127.1` is `127.0.0.1`. */
function isLoopback(url: string): boolean {
  const hostname = URL.canParse(url) ? new URL(url).hostname : "";
  return /^((.+\.)?localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}
