import { createServer as createHttpServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { buffer } from "node:stream/consumers";
import { setImmediate, setTimeout } from "node:timers/promises";

export type Service = "upstash" | "mongo" | "retell";

/** One call over the wire. An earlier moment has a smaller number; an answer that never came has Infinity. */
export interface Trip {
  to: Service;
  what: string;
  start: number;
  end: number;
}

/**
 * How a proxy treats a call. Calls that do not arrive: `hang`, no answer; `cut`, the connection is closed; `garbage`, an
 * unreadable answer; `limited`, a 429 with a Retry-After of an hour (HTTP only). Calls that arrive: `mute`, the answer is
 * lost; `half`, the connection is closed after half of the answer; `fail`, the answer is a 500, or for MongoDB the
 * connection is closed; `lateMs`, the answer comes this much later.
 */
export type Treatment = "pass" | "hang" | "cut" | "garbage" | "limited" | "mute" | "half" | "fail" | { lateMs: number };

/** The calls of several proxies, in one order. */
export class Recorder {
  trips: Trip[] = [];
  /**
   * While it is set, an answer leaves only after no call has come for this long. So calls that do not wait for each other
   * overlap, even if one of them still has to connect.
   */
  quietMs = 0;
  #moment = 0;
  #lastArrival = 0;

  now(): number {
    return ++this.#moment;
  }

  /** Notes that a call has come, or its first bytes. */
  arrive(): void {
    this.#lastArrival = this.now();
  }

  begin(to: Service, what: string): Trip {
    this.arrive();
    const trip = { to, what, start: this.now(), end: Number.POSITIVE_INFINITY };
    this.trips.push(trip);
    return trip;
  }

  /** Resolves when no call has come for this long. */
  async quiet(ms = 100): Promise<void> {
    for (let seen = -1; seen !== this.#lastArrival; ) {
      seen = this.#lastArrival;
      await setTimeout(ms);
      await setImmediate(); // after a pause of this process, first reads what has arrived meanwhile
    }
  }

  /** Resolves when the answer may leave: from then on the trip is over. */
  async end(trip: Trip): Promise<void> {
    if (this.quietMs > 0) await this.quiet(this.quietMs);
    trip.end = this.now();
  }
}

/** A proxy between the API and a service on loopback: records every call, and treats it as configured. */
export interface Proxy {
  port: number;
  /** The treatment by call: `MGET EVALSHA`, `POST /create-chat`, `findAndModify chats`; Mongo's monitoring is `hello`. */
  treat: (what: string) => Treatment;
  /** Closes the port and all connections: new connections are refused. */
  refuse(): Promise<void>;
  /** Opens the port again. */
  accept(): Promise<void>;
  stop(): Promise<void>;
}

/** @param target The service's base URL. */
export async function httpProxy(to: Service, target: string, recorder: Recorder): Promise<Proxy> {
  const proxy = await aProxy(
    createHttpServer((req, res) => void forward(req, res).catch(() => res.destroy())),
    recorder,
  );

  async function forward(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = await buffer(req);
    const what = `${req.method} ${req.url}`;
    if (what.includes("/_control")) return answer(res, await ask(req, body));

    const name = commandsIn(body) ?? what;
    const trip = recorder.begin(to, name);
    const treatment = proxy.treat(name);
    if (treatment === "hang") return;
    if (treatment === "cut") return void req.socket.destroy();
    if (treatment === "garbage") return void res.end("<!doctype html><title>Back soon</title>");
    if (treatment === "limited") return void res.writeHead(429, { "retry-after": "3600" }).end("{}");

    const given = await ask(req, body);
    await recorder.end(trip);
    if (treatment === "fail") return void res.writeHead(500).end("{}");
    if (treatment === "half") return answerHalf(req.socket, given);
    if (typeof treatment === "object") await setTimeout(treatment.lateMs, undefined, { ref: false });
    if (treatment !== "mute") answer(res, given);
  }

  // One connection per call: a kept one may be closed by the other side just when it is used.
  async function ask({ method, url, headers: { connection: _, ...headers } }: IncomingMessage, body: Buffer) {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    request(target + url, { method, headers, agent: false }, resolve)
      .on("error", reject)
      .end(body);
    const response = await promise;
    return { response, body: await buffer(response) };
  }

  function answer(res: ServerResponse, { response, body }: Awaited<ReturnType<typeof ask>>): void {
    const { connection: _, "transfer-encoding": __, ...headers } = response.headers;
    res.writeHead(response.statusCode ?? 500, headers).end(body);
  }

  /** For an answer without a body, half of its head. */
  function answerHalf(socket: Socket, { response, body }: Awaited<ReturnType<typeof ask>>): void {
    const head = `HTTP/1.1 ${response.statusCode} OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
    const whole = Buffer.concat([Buffer.from(head), body]);
    const length = body.length > 0 ? whole.length - body.length / 2 : head.length / 2;
    socket.write(whole.subarray(0, length), () => socket.destroy());
  }

  return proxy;
}

/** The commands of an Upstash pipeline. */
function commandsIn(body: Buffer): string | undefined {
  if (body.at(0) !== 0x5b /* [ */) return undefined;
  const commands: unknown[] = JSON.parse(body.toString());
  return commands.map((command) => (Array.isArray(command) ? String(command[0]).toUpperCase() : command)).join(" ");
}

/** @param target mongod's host and port. */
export async function mongoProxy(target: URL, recorder: Recorder): Promise<Proxy> {
  const proxy = await aProxy(
    createServer((client) => void carry(client)),
    recorder,
  );

  function carry(client: Socket): void {
    const server = connect(Number(target.port), target.hostname);
    const open = new Map<number, { trip: Trip; treatment: Treatment }>();

    onMessages(client, (message) => {
      const what = commandIn(message);
      const treatment = proxy.treat(what);
      recorder.arrive();
      if (what !== "hello") open.set(message.readInt32LE(4), { trip: recorder.begin("mongo", what), treatment });
      if (treatment === "cut") client.destroy();
      else if (treatment === "garbage") client.write("HTTP/1.1 400 Bad Request\r\n\r\n");
      else if (treatment !== "hang") server.write(message);
    });
    onMessages(server, async (message) => {
      const asked = open.get(message.readInt32LE(8));
      if (asked) await recorder.end(asked.trip);
      const treatment = asked?.treatment ?? proxy.treat("hello"); // monitoring streams answers without further requests
      if (typeof treatment === "object") await setTimeout(treatment.lateMs, undefined, { ref: false });
      if (client.destroyed) return;
      if (treatment === "fail") client.destroy();
      else if (treatment === "half") client.write(message.subarray(0, message.length / 2), () => client.destroy());
      else if (treatment === "pass" || typeof treatment === "object") client.write(message);
    });
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      one.on("error", () => {}).on("close", () => other.destroy());
    }
  }

  return proxy;
}

/** Cuts a stream into the messages of MongoDB's wire protocol: each begins with its length. */
function onMessages(socket: Socket, take: (message: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= rest.readInt32LE(0)) {
      const length = rest.readInt32LE(0);
      take(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  });
}

const monitoring = new Set(["hello", "ismaster", "ping", "saslStart", "saslContinue", "endSessions"]);
const OP_MSG = 2013;

/**
 * The command and its collection: the first element of the body's document.
 *
 * @see github.com/mongodb/specifications, source/message/OP_MSG.md
 */
function commandIn(message: Buffer): string {
  if (message.readInt32LE(12) !== OP_MSG) return "hello"; // the first handshake of a connection
  const nameAt = 16 + 4 + 1 + 4 + 1; // header, flags, kind of section, the document's length, the element's type
  const nameEnd = message.indexOf(0, nameAt);
  const name = message.toString("utf8", nameAt, nameEnd);
  if (monitoring.has(name)) return "hello";
  const isText = message[nameAt - 1] === 2;
  const length = isText ? message.readInt32LE(nameEnd + 1) : 0;
  return isText ? `${name} ${message.toString("utf8", nameEnd + 5, nameEnd + 4 + length)}` : name;
}

async function aProxy(server: Server, recorder: Recorder): Promise<Proxy> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    recorder.arrive();
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;

  const close = async () => {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    port,
    treat: () => "pass",
    async refuse() {
      await close();
      // When a new connection is refused, the clients have already seen their own connections close.
      await new Promise((resolve) => connect(port, "127.0.0.1").once("error", resolve));
      await setImmediate();
    },
    accept: async () => (server.listening ? undefined : listen(port)),
    stop: close,
  };
}
