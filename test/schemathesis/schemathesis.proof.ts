import "../support/unlimited.ts";
import { describe, expect, it } from "vitest";
import { openapi } from "../../dev/openapi/document.ts";
import { handler as transcript } from "../../functions/transcript.ts";
import type { Handler } from "../../lib/api/call.ts";
import type { Route } from "../../lib/api/route.ts";
import { routes } from "../../lib/api/routes.ts";
import { aGateway } from "../support/gateway.ts";
import { aWorld } from "../support/world.ts";
import { schemathesis } from "./run.ts";

/** `--seed` of `npm run prove -- schemathesis`. */
const seed = Number(process.env.SEED ?? 1);
const world = await aWorld();

/** The reference, with ids that exist here: random ones would be refused before they reach a handler. */
function withKnownIds() {
  const document = openapi();
  const { SubaccountId, CreateChatBody } = document.components.schemas;
  Object.assign(SubaccountId ?? {}, { enum: [world.subaccountId, world.subaccountId.toUpperCase()] });
  Object.assign(CreateChatBody?.properties?.agentId ?? {}, { enum: [world.agentId] });
  return document;
}

const settings = { document: withKnownIds(), token: world.owner.token, seed, without: [] as string[] };
/** Each operation by itself: by its examples, at the borders of its schemas, and at random. */
const single = { ...settings, phases: ["examples", "coverage", "fuzzing"] as const, examples: 20 };
const isOfExports = ({ name }: Route) => name.startsWith("exports-");
/** The operations that lead from one to another. A webhook is no part of that, as its signature cannot be made up. */
const chain = (isPart: (route: Route) => boolean) => {
  const without = Object.values<Route>(routes).filter((route) => !isPart(route) && route.name !== "default");
  return { ...settings, phases: ["stateful"] as const, examples: 40, without: without.map(({ name }) => name) };
};
const chats = chain((route) => route.path.includes("{chatId}") || ["create", "list", "search"].includes(route.name));
const exports = chain(isOfExports);

/** What must have been used with success. */
const endpoints = (without: string[]) =>
  Object.values<Route>(routes).filter(({ name, permission }) => permission && !without.includes(name));

const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);

describe("whatever schemathesis makes of the reference is answered as the reference says:", {
  timeout: 600_000,
}, () => {
  it.each([
    ["each operation by itself", single, 400],
    ["chats from their creation on", chats, 50],
    ["exports from their request on", exports, 50],
  ])("%s", async (_name, how, least) => {
    const { url } = await aGateway();
    const { answers, failures } = await schemathesis({ url, ...how });
    console.log(`seed ${seed}: ${sum(Object.values(answers))} requests`, answers);
    expect(failures).toBe("");
    expect(sum(Object.values(answers))).toBeGreaterThan(least);
    const never = endpoints(how.without).filter(
      ({ method, path, successStatus = 200 }) => !answers[`${method} ${path} ${successStatus}`],
    );
    expect(never.map(({ name }) => name)).toEqual([]);
  });
});

it("an answer that breaks the reference is found", { timeout: 600_000 }, async () => {
  const broken: Handler = async (event, context) => {
    const { body, ...answer } = await transcript(
      { ...event, headers: { ...event.headers, "accept-encoding": "" } },
      context,
    );
    return { ...answer, body: body?.replace(/"message_count":(\d+)/, '"message_count":"$1"') ?? "" };
  };
  const { url } = await aGateway({ handlers: { transcript: broken } });
  const { failures } = await schemathesis({ url, ...chats });
  expect(failures).toContain("/message_count");
});
