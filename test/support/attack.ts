import { ObjectId } from "mongodb";
import { type HttpRequest, split, toEvent } from "../../dev/event.ts";
import { findRoute } from "../../dev/gateway/router.ts";
import type { Route } from "../../lib/api/route.ts";
import { routes } from "../../lib/api/routes.ts";
import { checkAgainstReference } from "./reference.ts";
import {
  aContext,
  aWorld,
  call,
  central,
  control,
  type Name,
  type Request,
  type Response,
  responseOf,
  type World,
} from "./world.ts";

/** Every route that requires a permission, so a new endpoint is attacked from its first day. */
export const guarded = Object.values<Route>(routes)
  .filter(({ permission }) => permission)
  .map((route) => [route.name as Name, route] as const);

/** A valid request of the subaccount's owner, except for the parts that an attack changes. */
export function rightRequest(world: World, chatId: string, route: Route, changes: Partial<Request> = {}): Request {
  return {
    token: world.owner.token,
    subaccountId: world.subaccountId,
    chatId,
    ...(route.name === "search" ? { query: { q: "hello" } } : {}),
    ...(route.body ? { body: { agentId: world.agentId, content: "hello", format: "jsonl" } } : {}),
    ...changes,
  };
}

/** An export of the tenant that waits for its worker. */
export async function anExport({ owner: { token }, subaccountId }: World): Promise<string> {
  const { body } = await call("exports-create", { token, subaccountId, body: { format: "jsonl" } });
  return body.data.export_id;
}

/** Everything of a tenant that an attack could change: its database, its central documents, and the calls to Retell. */
export async function stateOf({ db, subaccountId, apiKey }: World): Promise<unknown> {
  const names = (await db.listCollections().toArray()).map(({ name }) => name).sort();
  const collections = await Promise.all(names.map(async (name) => [name, await db.collection(name).find().toArray()]));
  // An empty collection counts as none. The sweep's notes are left out: another test's sweep may write them.
  const own = collections.filter(([name, documents]) => documents?.length && name !== "chatsdatabase");
  const shared = await Promise.all(
    ["subaccounts", "usersubaccounts", "retellaccounts"].map((name) =>
      central
        .collection(name)
        .find({ $expr: { $in: [subaccountId, [{ $toString: "$_id" }, { $toString: "$subaccountId" }]] } })
        .toArray(),
    ),
  );
  const { requests } = await control("retell", "GET", `/requests?key=${apiKey}`);
  return { own, shared, asked: requests.length };
}

/** An answer as its caller sees it, without the fields that differ each time. */
export function shown({ status, headers, body }: Response): unknown {
  const { operationId: _id, duration: _duration, time: _time, ...meta } = body.meta;
  const changing = /^(x-operation-id|ratelimit-.*|retry-after)$/;
  const fixed = Object.entries(headers).filter(([name]) => !changing.test(name));
  return { status, headers: Object.fromEntries(fixed), body: { ...body, meta } };
}

/** Two subaccounts in one database, which the old server allows; the second one's agent is `agent_theirs`. */
export async function neighbours(): Promise<[World, World]> {
  const [one, two] = [await aWorld(), await aWorld({ agentId: "agent_theirs" })];
  const { databaseName } = one.db;
  await central
    .collection("subaccounts")
    .updateOne({ _id: new ObjectId(two.subaccountId) }, { $set: { databaseName } });
  await one.db.collection("chatagents").insertOne({ agentId: two.agentId, subaccountId: two.subaccountId });
  return [one, { ...two, db: one.db }];
}

/** Sends a request byte for byte, also a malformed one, to the function that API Gateway would choose. */
export async function raw(request: HttpRequest): Promise<Response> {
  const match = findRoute(request.method, split(request.target)[0]);
  const { handler } = await import(`../../functions/${match.route.name}.ts`);
  const response = responseOf(await handler(toEvent(request, match), aContext()));
  checkAgainstReference(match.route, response);
  return response;
}
