import { createReadStream } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { filesPath, linkedFile } from "../../lib/platform/files/folder.ts";
import { split } from "../event.ts";
import { refusalOf } from "../loopback.ts";
import { ownAnswer } from "./answer.ts";
import type { Cors } from "./cors.ts";
import { decode } from "./router.ts";

/** Serves the files of exports to whoever has a link to one, as the bucket does. Returns whether it is for a file. */
export function takeFile(cors: Cors, request: IncomingMessage, response: ServerResponse): boolean {
  const [path, query] = split(request.url ?? "");
  if (request.method !== "GET" || !path.startsWith(filesPath)) return false;
  serveFile(cors, request, response, decode(path.slice(filesPath.length)), query).catch((error) => {
    console.error("gateway: file:", error);
    response.destroy();
  });
  return true;
}

async function serveFile(
  cors: Cors,
  request: IncomingMessage,
  response: ServerResponse,
  name: string,
  query: string,
): Promise<void> {
  const { origin } = request.headers;
  const refusal = refusalOf(request, (from) => cors.allows(from));
  const file = refusal ? undefined : await linkedFile(name, Object.fromEntries(new URLSearchParams(query)));
  if (!file) {
    const { status, headers, body } = ownAnswer(403, refusal ?? "This link is not valid, or no more");
    response.writeHead(status, { ...headers, ...cors.headers(origin) }).end(body);
    return;
  }
  response.writeHead(200, {
    "content-type": file.type,
    "content-length": file.bytes,
    "content-disposition": `attachment; filename="${file.saveAs}"`,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...cors.headers(origin),
  });
  createReadStream(file.path)
    .on("error", () => response.destroy())
    .pipe(response);
}
