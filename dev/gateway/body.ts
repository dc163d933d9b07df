import type { IncomingMessage } from "node:http";

const none = Buffer.alloc(0);

/** The client disconnected before it had sent the whole body. */
export class Aborted extends Error {}

/** Whether the request's content-length exceeds the maximum. */
export function announcesMore(request: IncomingMessage, maxBytes: number): boolean {
  return Number(request.headers["content-length"] ?? 0) > maxBytes;
}

/**
 * Reads a request's body, with or without a content-length.
 *
 * @returns undefined as soon as the body exceeds the maximum; the rest is not read.
 * @throws  Aborted
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  const { headers } = request;
  if (headers["content-length"] === undefined && headers["transfer-encoding"] === undefined) return none;

  const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>();
  const chunks: Buffer[] = [];
  let length = 0;
  const take = (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length <= maxBytes) return;
    request.off("data", take).pause();
    resolve(undefined);
  };
  request.on("data", take);
  request.once("end", () => resolve(Buffer.concat(chunks, length)));
  request.once("close", () => reject(new Aborted()));
  return promise;
}

/** Reads and ignores the rest of a body for a while: a client that is cut off while it sends may not see its answer. */
export async function drain(request: IncomingMessage, forMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const patience = setTimeout(resolve, forMs);
  request.once("close", resolve).resume();
  await promise;
  clearTimeout(patience);
}
