import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import http from "node:http";
import { syncBuiltinESMExports } from "node:module";
import { buffer } from "node:stream/consumers";
import { crc32 } from "node:zlib";
import { Collection } from "mongodb";
import { load as fill } from "../dev/seed/load.ts";
import { gzip } from "../lib/gzip.ts";
import { eventFor, load, succeed } from "./api.ts";
import { type Job, job, tell } from "./child.ts";
import { interleaved } from "./numbers.ts";
import { aPlace } from "./place.ts";

/** Microseconds of CPU per request, one number a round. */
export type Chain = Record<"naive" | "ours" | "byHand", number[]>;

/**
 * A cached list of 100 without its I/O. What Upstash and Mongo answered once they answer again, at the edge: at
 * http.request, fetch and the driver's findOne. Ours, the naive one, and the same work written down by hand.
 */
async function measure({ quick }: Job): Promise<Chain> {
  const place = await aPlace();
  await fill(process.env.MONGODB_URL ?? "", { ...place, chats: 120, messages: 2, seed: 1 });
  const naive = await load(new URL("naive/", import.meta.url));
  const ours = await load();
  for (const api of [naive, ours]) for (let i = 0; i < 3; i++) await succeed(api, "list", place);

  const edge = record();
  await succeed(ours, "list", place);
  const upstash = edge.http[0] ?? "";
  await succeed(naive, "list", place);
  replay(edge);

  const event = eventFor("list", place);
  const context = { awsRequestId: "a request", getRemainingTimeInMillis: () => 29_000 } as never;
  const secret = process.env.JWT_SECRET ?? "";
  const results: unknown[] = JSON.parse(upstash);
  const entry = results.findIndex((one) => /"[A-Za-z0-9+/]{1000,}/.test(JSON.stringify(one)));
  const work = {
    naive: () => naive.list(event, context),
    ours: () => ours.list(event, context),
    byHand: () => byHand(event as never, secret, entry),
  };
  const bodies = await Promise.all([work.ours(), work.byHand()]);
  if (
    bodies.some(
      (one) => one.statusCode !== 200 || Math.abs((one.body?.length ?? 0) - (bodies[0].body?.length ?? 0)) > 40,
    )
  ) {
    throw new Error("What is written by hand answers something else");
  }

  const requests = quick ? 300 : 1_500;
  const cpu = (run: () => Promise<unknown>) => async () => {
    const before = process.cpuUsage();
    for (let i = 0; i < requests; i++) await run();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / requests;
  };
  const rounds = { naive: cpu(work.naive), ours: cpu(work.ours), byHand: cpu(work.byHand) };
  await interleaved(2, rounds); // until it is compiled
  return (await interleaved(quick ? 3 : 9, rounds)) as Chain;
}

interface Edge {
  /** Bodies of what http.request and fetch gave, in order. */
  http: string[];
  fetch: string[];
  found: unknown[];
}

const real = { request: http.request, fetch: globalThis.fetch, findOne: Collection.prototype.findOne };

function record(): Edge {
  const edge: Edge = { http: [], fetch: [], found: [] };
  http.request = ((url: string, options: object, take: (response: http.IncomingMessage) => void) =>
    real.request(url, options, async (response) => {
      const body = await buffer(response);
      edge.http.push(body.toString());
      take(responseOf(body) as never);
    })) as never;
  globalThis.fetch = async (...asked) => {
    const response = await real.fetch(...asked);
    edge.fetch.push(await response.clone().text());
    return response;
  };
  Collection.prototype.findOne = async function (this: Collection, ...asked: Parameters<typeof real.findOne>) {
    const found = await real.findOne.apply(this, asked);
    edge.found.push(found);
    return found;
  } as never;
  syncBuiltinESMExports();
  return edge;
}

function replay(edge: Edge): void {
  const turns = { http: 0, fetch: 0, found: 0 };
  const next = <K extends keyof Edge>(kind: K) => edge[kind][turns[kind]++ % edge[kind].length] as Edge[K][number];
  const bodies = new Map(edge.http.map((text) => [text, Buffer.from(text)]));
  http.request = ((_url: string, _options: object, take: (response: unknown) => void) => {
    const request = {
      on: () => request,
      end: () => setImmediate(take, responseOf(bodies.get(next("http")) as Buffer)),
    };
    return request;
  }) as never;
  const headers = { "content-type": "application/json" };
  globalThis.fetch = async () => new Response(next("fetch"), { headers });
  Collection.prototype.findOne = (async () => next("found")) as never;
  syncBuiltinESMExports();
}

const responseOf = (body: Buffer) => ({ statusCode: 200, headers: {}, toArray: async () => [body] });

interface Event {
  headers: Record<string, string>;
  pathParameters: { subaccountId: string };
}

/** The same list without packages: what a request cannot do without, and nothing for the next endpoint. */
async function byHand({ headers, pathParameters }: Event, secret: string, entry: number) {
  const startedAt = performance.now();
  const operationId = randomUUID();
  const { subaccountId } = pathParameters;
  const [head = "", payload = "", signature = ""] = (headers.authorization ?? "").slice(7).split(".");
  const expected = createHmac("sha256", secret).update(`${head}.${payload}`).digest();
  const isSigned = timingSafeEqual(expected, Buffer.from(signature, "base64url"));
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  if (!isSigned || claims.exp * 1_000 < Date.now()) return { statusCode: 401 };
  if (!/^[0-9a-f]{24}$/.test(subaccountId)) return { statusCode: 400 };

  const window = Math.floor(Date.now() / 60_000);
  const count = (name: string, id: string) => [
    "EVALSHA",
    "sha",
    2,
    `${name}:${id}:${window}`,
    `${name}:${id}:${window - 1}`,
  ];
  const list = `list:${subaccountId}`;
  const commands = [count("user", claims.id), count("list", subaccountId), ["MGET", list, `${list}:generation`]];
  const { promise, resolve } = Promise.withResolvers<http.IncomingMessage>();
  http
    .request("http://127.0.0.1", { method: "POST", headers: {}, signal: AbortSignal.timeout(500) }, resolve)
    .end(JSON.stringify(commands));
  const results = JSON.parse(Buffer.concat(await (await promise).toArray()).toString());
  const [used] = results[0].result;
  if (used < 0) return { statusCode: 429 };

  const all = Buffer.from(results[entry].result[0], "base64");
  if (crc32(all.subarray(0, -4)) !== all.readUInt32LE(all.length - 4)) return { statusCode: 500 };
  const stored = {
    bytes: all.subarray(0, -12),
    crc: all.readUInt32LE(all.length - 12),
    length: all.readUInt32LE(all.length - 8),
  };
  const duration = Math.round(performance.now() - startedAt);
  const body = gzip(stored, `"cached":true,"operationId":"${operationId}","duration":"${duration}ms"}}`).toString(
    "base64",
  );
  const line = {
    level: "INFO",
    message: "Request",
    operationId,
    subaccountId,
    userId: claims.id,
    status: 200,
    duration,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  return { statusCode: 200, headers: { "content-type": "application/json" }, body, isBase64Encoded: true };
}

if (import.meta.main) tell(await measure(job()));
