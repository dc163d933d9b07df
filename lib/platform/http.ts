import * as http from "node:http";
import * as https from "node:https";
import type { Socket } from "node:net";
import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from "node:zlib";
import { UnexpectedAnswer } from "./errors.ts";

/** What is asked. */
export interface HttpRequest {
  method: string;
  headers: http.OutgoingHttpHeaders;
  body?: string | undefined;
  signal: AbortSignal;
}

/** What came back. */
export interface HttpResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** @throws What keeps it from being read: it was cut off, or is not what its encoding says. */
  readonly body: string;
}

/** A few kB may inflate to hundreds of MB. */
const maxInflatedBytes = 20_000_000;

/** No connection within this: the request was surely not sent. */
const connectMs = 10_000;

const notSent = new WeakSet<object>();

/**
 * Whether what `ask` threw, or a cause of it, says that the request surely did not leave. Codes cannot tell: a broken
 * TLS record has the same one before a request and after it.
 */
export function wasNotSent(error: unknown): boolean {
  return error instanceof Error && (notSent.has(error) || wasNotSent(error.cause));
}

/**
 * HTTP over connections that are kept for the next request, made for a process that sleeps. A Lambda is frozen between
 * requests, its timers with it, and may wake up long after the other side has hung up, without having been told. So how
 * long a connection was idle is asked of the clock, when it is about to be used: nothing is sent over one whose other
 * side may be gone. fetch has no such rule, and costs 20 ms of a cold start more.
 */
export class HttpClient {
  readonly #idleMs: number;
  readonly #http = new http.Agent({ keepAlive: true });
  readonly #https = new https.Agent({ keepAlive: true });
  /** Epoch ms. */
  readonly #usedAt = new WeakMap<Socket, number>();

  /** @param idleMs Less than the other side keeps an idle connection. */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
  }

  /**
   * Sends one request, once. Resolves when its answer has come, though its body may be unreadable: status and headers
   * count all the same.
   *
   * @throws The socket's error (`code`), ERR_NOT_CONNECTED when there was no connection within 10 s, or an AbortError:
   *         see `wasNotSent`.
   */
  async request(url: string, { body, ...options }: HttpRequest): Promise<HttpResponse> {
    const [client, agent] = url.startsWith("https:") ? ([https, this.#https] as const) : ([http, this.#http] as const);
    this.#closeStale(agent);

    const { promise: answered, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
    const connected = client === https ? "secureConnect" : "connect"; // nothing of the request leaves before
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
    const chunks = await response.toArray().catch(asError); // stream/consumers goes through a Blob: 25 µs more
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
      if (isStale || socket.readableEnded || !socket.writable) socket.destroy(); // its end may just have been read
    }
  }
}

const asError = (error: unknown) => (error instanceof Error ? error : new Error("Cut off", { cause: error }));

/** Takes off a byte order mark. JSON is UTF-8, whatever charset its type names. */
const utf8 = new TextDecoder();

/** @param encodings The header: in the order in which they were applied. */
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
    case "x-gzip": // proxies inflate and keep the header
      return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes, limit) : bytes;
    case "deflate": // with the zlib header that the standard asks for, or without
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
