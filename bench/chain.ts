import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import http from "node:http";
import { syncBuiltinESMExports } from "node:module";
import { buffer } from "node:stream/consumers";
import { isDeepStrictEqual } from "node:util";
import { crc32, gunzipSync } from "node:zlib";
import type { APIGatewayProxyStructuredResultV2 } from "aws-lambda";
import { Collection } from "mongodb";
import { load as fill } from "../dev/seed/load.ts";
import { gzip } from "../lib/platform/compress.ts";
import { eventFor, load, succeed } from "./api.ts";
import { type Job, job, tell } from "./child.ts";
import { interleaved } from "./numbers.ts";
import { aPlace } from "./place.ts";

/** Microseconds of CPU per request, one number per round. */
export type Chain = Record<"naive" | "ours" | "byHand", number[]>;

/**
 * Measures a cached list of 100 chats without its I/O: ours, the naive one, and the same work written by hand. The
 * answers of Upstash and MongoDB are recorded once and replayed by http.request, fetch and the driver's findOne.
 */
async function measure({ quick }: Job): Promise<Chain> {
  const place = await aPlace();
  await fill(process.env.MONGODB_URL ?? "", { ...place, chats: 120, messages: 2, seed: 1 });
  const naive = await load(new URL("naive/", import.meta.url));
  const ours = await load();
  for (const api of [naive, ours]) for (let i = 0; i < 3; i++) await succeed(api, "list", place);

  const edge = record();
  await succeed(ours, "list", place);
  await succeed(naive, "list", place);
  replay(edge);

  const event = eventFor("list", place);
  const context = { awsRequestId: "a request", getRemainingTimeInMillis: () => 29_000 } as never;
  const secret = process.env.JWT_SECRET ?? "";
  const work = {
    naive: () => naive.list(event, context),
    ours: () => ours.list(event, context),
    byHand: () => byHand(event as never, context, secret),
  };
  const [one, other] = (await Promise.all([work.ours(), work.byHand()])).map(comparable);
  if (!isDeepStrictEqual(one, other)) throw new Error("The answer written by hand differs from ours");

  const requests = quick ? 300 : 1_500;
  const cpu = (run: () => Promise<unknown>) => async () => {
    const before = process.cpuUsage();
    for (let i = 0; i < requests; i++) await run();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / requests;
  };
  const rounds = { naive: cpu(work.naive), ours: cpu(work.ours), byHand: cpu(work.byHand) };
  await interleaved(2, rounds); // warm-up: until the code is compiled
  return (await interleaved(quick ? 3 : 9, rounds)) as Chain;
}

/** An answer without the fields that differ between requests. */
function comparable({ statusCode, headers, body = "" }: Answer) {
  const { "x-operation-id": _, "ratelimit-reset": __, ...same } = headers ?? {};
  const { meta, ...envelope } = JSON.parse(gunzipSync(Buffer.from(body, "base64")).toString());
  return { statusCode, headers: same, envelope, meta: { ...meta, operationId: "", duration: "", time: 0 } };
}

interface Edge {
  /** Bodies of the answers of http.request, and below of fetch, in order. */
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
  queryStringParameters?: Record<string, string>;
}

interface Called {
  awsRequestId: string;
  getRemainingTimeInMillis(): number;
}

type Answer = APIGatewayProxyStructuredResultV2;

/**
 * The same list without packages: only the work that a request cannot do without, written for this endpoint alone. It
 * checks, sends and writes what ours does: two limits, the user's epoch, the headers, a log line and a line of metrics,
 * and an answer before the time is up.
 */
async function byHand(event: Event, { awsRequestId, getRemainingTimeInMillis }: Called, secret: string) {
  const early = Promise.withResolvers<Answer>();
  const timer = setTimeout(() => early.resolve({ statusCode: 504 }), getRemainingTimeInMillis() - 2_000);
  const answer = await Promise.race([answerByHand(event, awsRequestId, secret), early.promise]);
  clearTimeout(timer);
  return answer;
}

/** What an instance remembers: the caller's epoch and whether it may read, and Upstash's sync token. */
const remembered = { epoch: null, mayRead: true, readAt: Date.now(), syncToken: "" };
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

async function answerByHand(
  { headers: asked, pathParameters, queryStringParameters }: Event,
  requestId: string,
  secret: string,
): Promise<Answer> {
  const startedAt = performance.now();
  const given = asked["x-operation-id"];
  const operationId = given !== undefined && uuid.test(given) ? given.toLowerCase() : randomUUID();

  const userId = userOf(asked.authorization ?? "", secret);
  if (userId === undefined) return { statusCode: 401 };
  const { subaccountId } = pathParameters;
  if (!/^[0-9a-f]{24}$/.test(subaccountId)) return { statusCode: 400 };
  if (queryStringParameters !== undefined) return { statusCode: 501 }; // not the default page

  const now = Date.now();
  const [cached, user, subaccount, epoch] = await askRedis(userId, subaccountId, now); // of any shape, as JSON is
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "x-operation-id": operationId,
    "cache-control": "no-store",
    vary: "accept-encoding",
    "x-content-type-options": "nosniff",
  };
  const [tighter, other] = [user.result, subaccount.result].sort(([one], [another]) => one - another);
  headers["ratelimit-limit"] = String(tighter[1]);
  headers["ratelimit-remaining"] = String(Math.max(0, tighter[0]));
  headers["ratelimit-reset"] = String(Math.ceil(((windowOf(now) + 1) * WINDOW_MS - now) / 1_000));
  if (tighter[0] < 0 || other[0] < 0) return { statusCode: 429, headers };
  const isKnown =
    epoch.result.every((one: unknown) => one === remembered.epoch) && Date.now() - remembered.readAt < 3_600_000;
  if (!isKnown || !remembered.mayRead) return { statusCode: 403, headers };
  const admit = Math.round(performance.now() - startedAt);

  const all = Buffer.from(cached.result[0], "base64");
  if (crc32(all.subarray(0, -4), 2) !== all.readUInt32LE(all.length - 4)) return { statusCode: 500 };
  const etag = `"${all.subarray(-28, -12).toString("base64url")}"`;
  headers.etag = `W/${etag}`;
  if (asked["if-none-match"]?.includes(etag)) return { statusCode: 304, headers };
  const stored = {
    bytes: all.subarray(0, -28),
    crc: all.readUInt32LE(all.length - 12),
    length: all.readUInt32LE(all.length - 8),
  };
  if (!asked["accept-encoding"]?.includes("gzip")) return { statusCode: 501 };
  headers["content-encoding"] = "gzip";
  const duration = Math.round(performance.now() - startedAt);
  const meta = { cached: true, poll_after_ms: 5_000, operationId, duration: `${duration}ms`, time: Date.now() };
  const end = JSON.stringify(meta);
  const body = gzip(stored, `${end.slice(1)}}`).toString("base64");
  writeLog({ operationId, requestId, userId, subaccountId, duration, admit });
  return { statusCode: 200, headers, body, isBase64Encoded: true };
}

/** The user's id in a bearer token; undefined if the token is not valid. */
function userOf(authorization: string, secret: string): string | undefined {
  const [head = "", payload = "", signature = ""] = authorization.slice(7).split(".");
  const { alg } = JSON.parse(Buffer.from(head, "base64url").toString());
  const expected = createHmac("sha256", secret).update(`${head}.${payload}`).digest();
  const sent = Buffer.from(signature, "base64url");
  const isSigned = alg === "HS256" && sent.length === expected.length && timingSafeEqual(expected, sent);
  if (!isSigned) return undefined;
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  return claims.exp * 1_000 + 5_000 > Date.now() && typeof claims.id === "string" ? claims.id : undefined;
}

const WINDOW_MS = 60_000;
const windowOf = (now: number) => Math.floor(now / WINDOW_MS);

/** One pipeline: the cached list, the two limits and the user's epoch. */
async function askRedis(userId: string, subaccountId: string, now: number) {
  const window = windowOf(now);
  const limit = (name: string, id: string) => [
    "EVALSHA",
    "sha",
    2,
    `${name}:${id}:${window}`,
    `${name}:${id}:${window - 1}`,
    ...[100_000_000, now, WINDOW_MS, 1],
  ];
  const list = `list:${subaccountId}`;
  const commands = [
    ["MGET", list, `${list}:generation`],
    limit("user", userId),
    limit("list", subaccountId),
    ["MGET", `epoch:${userId}`, `subaccount-epoch:${subaccountId}`],
  ];
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  http
    .request(
      "http://127.0.0.1",
      {
        method: "POST",
        headers: {
          authorization: "Bearer token",
          "content-type": "application/json",
          "upstash-sync-token": remembered.syncToken,
        },
        signal: AbortSignal.timeout(500),
      },
      resolve,
    )
    .on("error", reject)
    .end(JSON.stringify(commands));
  const response = await promise;
  remembered.syncToken = String(response.headers["upstash-sync-token"] ?? "");
  const replies = JSON.parse(Buffer.concat(await response.toArray()).toString());
  // The recorded answers of the API's own commands, in whatever order it sends them: the list, two limits, the epoch.
  const firstIs = (type: string) => replies.filter(({ result }: { result: unknown[] }) => typeof result[0] === type);
  return [...firstIs("string"), ...firstIs("number"), ...firstIs("object")];
}

interface Logged {
  operationId: string;
  requestId: string;
  userId: string;
  subaccountId: string;
  duration: number;
  admit: number;
}

/** Writes the request's log line and its line of metrics. */
function writeLog({ operationId, requestId, userId, subaccountId, duration, admit }: Logged): void {
  const line = {
    level: "INFO",
    message: "Request",
    timestamp: new Date().toISOString(),
    service: "scalai-chat",
    operationId,
    requestId,
    operation: "list",
    route: "GET /api/chats/{subaccountId}/list",
    coldStart: false,
    userId,
    subaccountId,
    cache: "hit",
    status: 200,
    duration,
    ...{ admit, mongo: 0, retell: 0 },
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  const metric = (by: string[], Name: string, Unit: string) => ({
    Namespace: "ScalAIChat",
    Dimensions: [["Stage", ...by]],
    Metrics: [{ Name, Unit }],
  });
  const measured = {
    _aws: {
      Timestamp: Date.now(),
      CloudWatchMetrics: [
        metric(["Operation"], "Duration", "Milliseconds"),
        metric(["Operation"], "CacheHits", "Count"),
      ],
    },
    ...{ Stage: "bench", operationId, requestId, Operation: "list", Duration: duration, CacheHits: 1 },
  };
  process.stdout.write(`${JSON.stringify(measured)}\n`);
}

if (import.meta.main) tell(await measure(job()));
