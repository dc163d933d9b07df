import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { fileURLToPath } from "node:url";
import type { ViteDevServer } from "vite";
import { pageHeaders } from "../../infra/console.ts";
import { split } from "../event.ts";
import { refusalOf } from "../loopback.ts";
import { ownAnswer } from "./answer.ts";
import { readBody } from "./body.ts";

/** What only the console of `npm start` gets. */
export interface LocalConsole {
  /** The demo tenant with a token for each of its users; undefined if there is none. */
  demo?: (() => Promise<object>) | undefined;
  /** The address of the Retell simulator's control API; undefined if Retell is not simulated. */
  retellControl?: string | undefined;
}

/** The console and the reference page on a gateway. */
export interface Pages {
  /** Serves the request and returns true, if it is for a page or for a file of one. Everything else is the API's. */
  take(request: IncomingMessage, response: ServerResponse): boolean;
  stop(): Promise<void>;
}

/** The paths of the pages, and their files in console/. */
const htmlFiles: Record<string, string> = { "/": "index.html", "/reference": "reference/index.html" };
/** Scripts and styles of the pages: a path of their own, so that any other unknown path is the API's 404. */
const FILES = "/_console/";
const LOCAL = "/_local/";
const MAX_BODY = 65_536;

/**
 * Serves console/ by Vite as it is, without a build step. Vite is loaded at the first request for a page, so that the
 * gateway does not start later because of it.
 */
export function pagesOf(server: Server, local: LocalConsole): Pages {
  let vite: Promise<ViteDevServer> | undefined;
  const serve = async (request: IncomingMessage, response: ServerResponse, path: string) => {
    vite ??= startVite(server);
    const { middlewares, transformIndexHtml } = await vite;
    const file = htmlFiles[path];
    if (file === undefined) return middlewares(request, response, () => send(response, 404, { message: "Not Found" }));
    const { readFile } = await import("node:fs/promises");
    const html = await transformIndexHtml(`${FILES}${file}`, await readFile(new URL(file, root), "utf8"));
    response.writeHead(200, { ...pageHeaders, "content-type": "text/html; charset=utf-8" });
    response.end(request.method === "HEAD" ? "" : html);
  };

  return {
    take(request, response) {
      const [path] = split(request.url ?? "");
      const isRead = request.method === "GET" || request.method === "HEAD";
      const isFile = path in htmlFiles || path.startsWith(FILES);
      if (!path.startsWith(LOCAL) && !(isRead && (isFile || path === "/config.json"))) return false;

      const own = `http://${request.headers.host}`;
      const { origin = own } = request.headers;
      // No page of another origin may read what is here, not even of another port of this machine.
      const refusal = refusalOf(request) ?? (origin === own ? undefined : "This Origin is not allowed");
      const answer = async () => {
        if (refusal) return send(response, 403, { message: refusal });
        if (isFile) return serve(request, response, path);
        if (path === "/config.json") return send(response, 200, { apiUrl: "/", local: true });
        return serveLocal(local, request, response, path.slice(LOCAL.length));
      };
      answer().catch((error) => {
        console.error("gateway: console:", error);
        if (!response.headersSent) send(response, 500, { message: "Internal Server Error" });
        else response.destroy();
      });
      return true;
    },
    stop: async () => void (await (await vite?.catch(() => undefined))?.close()),
  };
}

const root = new URL("../../console/", import.meta.url);

async function startVite(server: Server): Promise<ViteDevServer> {
  const { createServer } = await import("vite");
  return createServer({
    configFile: fileURLToPath(new URL("vite.config.ts", root)),
    root: fileURLToPath(root),
    base: FILES,
    appType: "custom",
    clearScreen: false,
    logLevel: "warn",
    server: { middlewareMode: true, hmr: { server, overlay: false }, cors: false },
  });
}

async function serveLocal(
  { demo, retellControl }: LocalConsole,
  request: IncomingMessage,
  response: ServerResponse,
  name: string,
): Promise<void> {
  if (name === "demo" && request.method === "GET") {
    return send(response, 200, { ...(await demo?.()), faults: retellControl !== undefined });
  }
  if (name !== "faults" || retellControl === undefined) return send(response, 404, { message: "Not Found" });
  const { method = "GET" } = request;
  const body = await readBody(request, MAX_BODY);
  if (!body) return send(response, 413, { message: "Request Entity Too Large" });
  const answer = await fetch(`${retellControl}/faults`, { method, ...(body.length > 0 ? { body } : {}) });
  return send(response, answer.status, Object(await answer.json()));
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, {
    ...ownAnswer(status, "").headers,
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
  });
  response.end(JSON.stringify(body));
}
