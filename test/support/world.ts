import { gunzipSync } from "node:zlib";
import type { APIGatewayProxyStructuredResultV2, Context } from "aws-lambda";
import { SignJWT } from "jose";
import { type Db, MongoClient, ObjectId } from "mongodb";
import { afterAll, expect, inject } from "vitest";
import { toEvent } from "../../dev/event.ts";
import type { Permission } from "../../lib/access/membership.ts";
import type { Route } from "../../lib/api/route.ts";
import { routes } from "../../lib/api/routes.ts";
import { encrypt } from "../../lib/platform/crypto.ts";
import { indexes } from "../../lib/platform/indexes.ts";
import { canary, hide } from "./canaries.ts";
import { checkAgainstReference } from "./reference.ts";

export type Name = keyof typeof routes;

const client = new MongoClient(process.env.MONGODB_URL ?? "");
afterAll(() => client.close());
export const central = client.db();

/** A user of the API, with a token. */
export interface User {
  id: string;
  token: string;
}

/** A subaccount for one test: database, agent, Retell account and users. */
export interface World {
  subaccountId: string;
  agentId: string;
  apiKey: string;
  db: Db;
  owner: User;
  viewer: User;
  stranger: User;
  superAdmin: User;
}

let centralIsUnique: Promise<void> | undefined;

/** Creates a tenant that no other test uses, so tests share only the services. */
export async function aWorld(
  options: { agentId?: string; account?: object | null; subaccount?: object } = {},
): Promise<World> {
  const subaccount = new ObjectId();
  const subaccountId = subaccount.toHexString();
  const databaseName = `t_${subaccountId}`;
  const agentId = options.agentId ?? "agent_shop";
  const apiKey = `key_${canary}_${subaccountId}`;
  const db = client.db(databaseName);

  centralIsUnique ??= makeUnique(central, "central");
  const unique = Promise.all([centralIsUnique, makeUnique(db, "tenant")]); // in parallel with the rest, since it takes longest
  await central
    .collection("subaccounts")
    .insertOne({ _id: subaccount, databaseName, isActive: true, maintenanceMode: false, ...options.subaccount });
  await db.collection("chatagents").insertOne({ agentId, subaccountId });
  if (options.account !== null) {
    await central.collection("retellaccounts").insertOne({
      subaccountId: subaccount,
      apiKey: await encrypt(apiKey, subaccountId),
      accountName: "Test Retell",
      isActive: true,
      ...options.account,
    });
  }
  const [owner, viewer, stranger, superAdmin] = await Promise.all([
    aUser(),
    aUser(),
    aUser(),
    aUser({ role: "super_admin" }),
  ]);
  await aMembership(subaccountId, owner.id, ["read", "write", "delete", "admin"], { role: "owner" });
  await aMembership(subaccountId, viewer.id, ["read"], { role: "viewer" });
  await unique;
  return { subaccountId, agentId, apiKey, db, owner, viewer, stranger, superAdmin };
}

/**
 * Creates the unique indexes, which decide between two writes at once. The other indexes only save time and would take
 * longer than the rest of the tenant, so a test that needs them creates them.
 */
export async function makeUnique(db: Db, kind: keyof typeof indexes): Promise<void> {
  const unique = indexes[kind].filter(({ options }) => options?.unique);
  const byCollection = Map.groupBy(unique, ({ collection }) => collection);
  await Promise.all(
    Array.from(byCollection, ([collection, some]) =>
      db.collection(collection).createIndexes(some.map(({ key, options }) => ({ key, ...options }))),
    ),
  );
}

/** Lets a user into a subaccount, with the given flags. */
export async function aMembership(subaccountId: string, userId: string, may: Permission[], more: object = {}) {
  await central.collection("usersubaccounts").insertOne({
    userId: new ObjectId(userId),
    subaccountId: new ObjectId(subaccountId),
    role: "editor",
    isActive: true,
    permissions: Object.fromEntries(
      ["read", "write", "delete", "admin"].map((f) => [f, may.includes(f as Permission)]),
    ),
    temporaryAccess: { enabled: false },
    ...more,
  });
}

/** A user with a valid token. */
export async function aUser(claims: Record<string, unknown> = {}): Promise<User> {
  const id = new ObjectId().toHexString();
  return { id, token: await aToken({ id, email: `${id}@test.example`, role: "user", ...claims }) };
}

/** A token of these claims, signed with the secret of the tests. */
export function aToken(claims: Record<string, unknown>, { secret = process.env.JWT_SECRET, expires = "1h" } = {}) {
  const token = new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).setIssuedAt();
  if (expires) token.setExpirationTime(expires);
  return token.sign(new TextEncoder().encode(secret));
}

/** The parts of a request, without its route. */
export interface Request {
  token?: string | undefined;
  /** Path parameters. */
  subaccountId?: string;
  chatId?: string;
  exportId?: string;
  query?: Record<string, string>;
  /** Sent as JSON, except a string, which is sent unchanged. */
  body?: unknown;
  headers?: Record<string, string>;
  /** The function's remaining time at the start. With less, its deadlines come sooner. */
  remainingMs?: number;
}

// biome-ignore lint/suspicious/noExplicitAny: the body of an answer may be anything; tests read fields of it
type Json = any;

export interface Response {
  status: number;
  headers: Record<string, string>;
  body: Json;
  /** Bytes of the body on the wire. */
  wireBytes: number;
  /** Bytes of the whole answer as Lambda counts it: the body is a string inside JSON. */
  lambdaBytes: number;
}

/**
 * Calls an endpoint by name, as API Gateway would: a real event, a real context, the deployed handler. The answer
 * is held against the reference.
 */
export async function call(name: Name, request: Request = {}): Promise<Response> {
  const { handler } = await import(`../../functions/${name}.ts`);
  return invoke(handler, name, request);
}

/** The same with a given handler, for a second instance of the modules. */
export async function invoke(
  handler: (event: unknown, context: unknown) => Promise<Json>,
  name: Name,
  { remainingMs = 29_000, ...request }: Request,
): Promise<Response> {
  hide(request.body);
  const response = responseOf(await handler(eventFor(name, request), aContext(remainingMs)));
  hide(response.body);
  checkAgainstReference(routes[name], response);
  expect(response.headers["x-operation-id"]).toMatch(/^[\da-f-]{36}$/);
  const { isBare }: Route = routes[name];
  if (response.status === 304 || (isBare && response.status === 200)) return response; // it has no envelope
  expect(response.headers["x-operation-id"]).toBe(response.body.meta.operationId);
  expect(response.body.meta.operation).toBe(response.status < 300 ? undefined : name);
  if (response.status === 429) expect(response.body.details.limit).toMatch(/^(user|subaccount)$/);
  return response;
}

/** A function's answer, as its caller reads it. */
export function responseOf(answer: Json): Response {
  const { statusCode: status, headers } = answer;
  const bytes = bytesOf(answer);
  const text = (headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes).toString();
  const type = headers["content-type"] ?? "";
  const body = type.startsWith("application/json") ? JSON.parse(text) : type === "application/pdf" ? bytes : text;
  return { status, headers, body, wireBytes: bytes.length, lambdaBytes: Buffer.byteLength(JSON.stringify(answer)) };
}

/** Decodes a function's body as API Gateway does. */
export function bytesOf({ body, isBase64Encoded }: APIGatewayProxyStructuredResultV2): Buffer {
  return Buffer.from(body ?? "", isBase64Encoded ? "base64" : "utf8");
}

/** The context that Lambda passes with an invocation. */
export function aContext(remainingMs = 29_000): Context {
  const end = Date.now() + remainingMs;
  const context = { awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => end - Date.now() };
  return context as Context;
}

/** The event that API Gateway makes of a request. */
export function eventFor(name: Name, { token, subaccountId, chatId, exportId, query, body, headers }: Request) {
  const route: Route = routes[name];
  const parts: Record<string, string | undefined> = { subaccountId, chatId, exportId };
  const path = route.path.replace(/\{(\w+)\}/g, (_, part) => encodeURIComponent(parts[part] ?? "-"));
  const search = query ? `?${new URLSearchParams(query)}` : "";
  return toEvent({
    method: route.method,
    target: `${path}${search}`,
    headers: {
      "accept-encoding": "gzip, deflate",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
}

/** Calls the control API of the Retell simulator or the Upstash emulator. */
export async function control(
  service: "retell" | "upstash",
  method: string,
  path: string,
  body?: unknown,
): Promise<Json> {
  const { retell, upstash } = inject("control");
  const base = service === "retell" ? (process.env.TEST_RETELL_CONTROL ?? retell) : upstash;
  const answer = await fetch(`${base}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** Injects a fault into the next call of one step by one tenant's Retell key. */
export function fault(world: World, step: string, kind: object): Promise<unknown> {
  return control("retell", "POST", "/faults", { step, key: world.apiKey, ...kind });
}

/** Creates a chat through the API. Returns its id. */
export async function aChat(world: World, body: object = {}): Promise<string> {
  const { status, body: answer } = await call("create", {
    token: world.owner.token,
    subaccountId: world.subaccountId,
    body: {
      agentId: world.agentId,
      metadata: { canary },
      retell_llm_dynamic_variables: { canary },
      ...body,
    },
  });
  expect([status, answer.code]).toEqual([200, undefined]); // otherwise later steps fail without a reason
  return answer.data.chat_id;
}
