import type { IncomingMessage } from "node:http";

const none = Buffer.alloc(0);

/** The client went away before it had sent everything. */
export class Aborted extends Error {}

/** Whether a request says itself that its body is longer. */
export function announcesMore(request: IncomingMessage, maxBytes: number): boolean {
  return Number(request.headers["content-length"] ?? 0) > maxBytes;
}

/**
 * Reads a request's body, whether it announces its length or not.
 *
 * @returns undefined as soon as it is longer than allowed; the rest is left unread.
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

/** Lets a client finish sending what nobody will read, for a while: cut off earlier, it may never see its answer. */
export async function drain(request: IncomingMessage, forMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const patience = setTimeout(resolve, forMs);
  request.once("close", resolve).resume();
  await promise;
  clearTimeout(patience);
}
