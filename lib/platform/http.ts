import * as http from "node:http";
import * as https from "node:https";
import type { Socket } from "node:net";
import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from "node:zlib";
import { UnexpectedAnswer } from "./errors.ts";

export interface HttpRequest {
  method: string;
  headers: http.OutgoingHttpHeaders;
  body?: string | undefined;
  signal: AbortSignal;
}

export interface HttpResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** @throws When it was cut off, or does not have the encoding that its header names. */
  readonly body: string;
}

/** A body of a few kB could inflate to hundreds of MB. */
const maxInflatedBytes = 20_000_000;

/** Without a connection after this time, the request fails, and was not sent. */
const connectMs = 10_000;

const notSent = new WeakSet<object>();

/**
 * Whether an error of `request`, or a cause of it, means that the request was not sent. The error's code cannot tell: a
 * broken TLS record has the same code before and after a request.
 */
export function wasNotSent(error: unknown): boolean {
  return error instanceof Error && (notSent.has(error) || wasNotSent(error.cause));
}

/**
 * HTTP with keep-alive for a process that is frozen between requests. A frozen Lambda's timers stand still, and it does
 * not notice that the other side closes a connection. So the age of an idle connection is checked by the clock right
 * before it is used, and an old one is closed instead. fetch has no such check, and adds 20 ms to a cold start.
 */
export class HttpClient {
  readonly #idleMs: number;
  readonly #http = new http.Agent({ keepAlive: true });
  readonly #https = new https.Agent({ keepAlive: true });
  /** Epoch ms. */
  readonly #usedAt = new WeakMap<Socket, number>();

  /** @param idleMs How long a connection may be idle: less than the other side keeps one. */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
  }

  /**
   * Sends a request once. Resolves when the answer is complete or its body was cut off: status and headers are valid
   * then, and `body` throws.
   *
   * @throws The socket's error (`code`), ERR_NOT_CONNECTED when there was no connection within 10 s, or an AbortError:
   *         see `wasNotSent`.
   */
  async request(url: string, { body, ...options }: HttpRequest): Promise<HttpResponse> {
    const [client, agent] = url.startsWith("https:") ? ([https, this.#https] as const) : ([http, this.#http] as const);
    this.#closeStale(agent);

    const { promise: answered, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
    const connected = client === https ? "secureConnect" : "connect"; // nothing is sent before
    let socket: Socket | undefined;
    let isConnected = false;
    const request = client
      .request(url, { ...options, agent }, resolve)
      .on("error", (error) => {
        if (!isConnected) notSent.add(error);
        reject(error);
      })
      .on("socket", (its) => {
        socket = its;
        isConnected = request.reusedSocket;
        if (isConnected) return;
        its.once(connected, () => {
          isConnected = true;
        });
        setConnectTimeout(its, connected);
      });
    request.end(body);
    const response = await answered;
    const chunks = await response.toArray().catch(asError); // stream/consumers uses a Blob, which takes 25 µs longer
    if (socket) this.#usedAt.set(socket, Date.now());

    const { statusCode: status = 0, headers } = response;
    return {
      status,
      headers,
      get body() {
        if (chunks instanceof Error) throw chunks;
        return utf8.decode(decoded(Buffer.concat(chunks), headers["content-encoding"]));
      },
    };
  }

  #closeStale({ freeSockets }: http.Agent): void {
    for (const socket of Object.values(freeSockets).flatMap((sockets) => sockets ?? [])) {
      const isStale = Date.now() - (this.#usedAt.get(socket) ?? 0) > this.#idleMs;
      if (isStale || socket.readableEnded || !socket.writable) socket.destroy(); // or its end has been read
    }
  }
}

const asError = (error: unknown) => (error instanceof Error ? error : new Error("Cut off", { cause: error }));

/** Removes a byte order mark. JSON is UTF-8, whatever charset its content type names. */
const utf8 = new TextDecoder();

/** @param encodings The Content-Encoding header, in the order in which the encodings were applied. */
function decoded(bytes: Buffer, encodings = ""): Buffer {
  const names = encodings.split(",").map((name) => name.trim().toLowerCase());
  return names.reduceRight((body, name) => (body.length === 0 ? body : inflated(body, name)), bytes);
}

function inflated(bytes: Buffer, encoding: string): Buffer {
  const limit = { maxOutputLength: maxInflatedBytes };
  switch (encoding) {
    case "":
    case "identity":
      return bytes;
    case "gzip":
    case "x-gzip": // some proxies inflate the body and keep the header
      return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes, limit) : bytes;
    case "deflate": // with the zlib header that the standard requires, or without
      return (bytes.readUInt8() & 0x0f) === 8 ? inflateSync(bytes, limit) : inflateRawSync(bytes, limit);
    case "br":
      return brotliDecompressSync(bytes, limit);
    case "zstd":
      return zstdDecompressSync(bytes, limit);
    default:
      throw new UnexpectedAnswer("The answer has an encoding that is not known");
  }
}

function setConnectTimeout(socket: Socket, connected: string): void {
  const late = Object.assign(new Error("No connection"), { code: "ERR_NOT_CONNECTED" });
  const timer = setTimeout(() => socket.destroy(late), connectMs);
  const stop = () => clearTimeout(timer);
  socket.once(connected, stop).once("close", stop);
}
