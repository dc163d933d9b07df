import "./support/own-retell.ts";
import "./support/unlimited.ts";
import type { APIGatewayProxyStructuredResultV2 } from "aws-lambda";
import fc from "fast-check";
import { symmetric } from "retell-sdk/lib/webhook_auth";
import { expect, it } from "vitest";
import { type HttpRequest, split, toEvent } from "../dev/event.ts";
import { findRoute } from "../dev/gateway/router.ts";
import type { Route } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { type ErrorCode, errors } from "../lib/platform/errors.ts";
import { runs } from "./support/runs.ts";
import { aChat, aWorld, type Name } from "./support/world.ts";

const world = await aWorld();
const { subaccountId, owner, viewer, stranger } = world;
const ids = [subaccountId, subaccountId.toUpperCase(), "64b000000000000000000001", "x"];
const chatIds = [await aChat(world), await aChat(world), "chat_nobodys", "__proto__"];
const signature = await symmetric.sign("{}", world.apiKey);

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** One of our two envelopes, or the data of a route without one; a code of the table with the status that the table gives it, and the request's id. */
function expectEnvelope(name: Name, result: APIGatewayProxyStructuredResultV2): ErrorCode | undefined {
  const { statusCode, headers, body } = result;
  const { isBare, data, mediaTypes }: Route = routes[name];
  const [type] = String(headers?.["content-type"]).split(";");
  if (mediaTypes && statusCode === 200 && type !== "application/json") {
    expect(mediaTypes).toContain(type);
    return undefined;
  }
  const answer = JSON.parse(String(body));
  if (isBare && statusCode === 200) {
    data.parse(answer);
    return undefined;
  }
  expect(answer.meta).toMatchObject({
    operationId: expect.stringMatching(uuid),
    duration: expect.stringMatching(/^\d+ms$/),
  });
  expect(headers?.["x-operation-id"]).toBe(answer.meta.operationId);
  expect(headers?.["content-type"]).toBe("application/json");
  if (answer.success === true) {
    const route: Route = routes[name];
    expect([statusCode, answer.message]).toEqual([200, route.message]);
    route.data.parse(answer.data);
    return undefined;
  }
  const code = answer.code as ErrorCode;
  const unknown = code === "MESSAGE_SEND_FAILED" && answer.details?.outcome === "unknown";
  expect(statusCode).toBe(unknown ? 504 : errors[code]?.status);
  expect(answer).toMatchObject({ success: false, message: expect.any(String), meta: { operation: name } });
  const allowed = ["success", "message", "code", "errors", "details", "retryAfter", "meta"];
  expect(Object.keys(answer).filter((key) => !allowed.includes(key))).toEqual([]);
  return code;
}

/** Correct in four of five cases, because a request that is wrong everywhere is refused by the first check. */
function mostly<T>(right: T, others: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 4, arbitrary: fc.constant(right) }, others);
}

const text = fc.string({ unit: "binary", maxLength: 40 });
const bearer = mostly(
  `Bearer ${owner.token}`,
  fc.constantFrom(`Bearer ${viewer.token}`, `Bearer ${stranger.token}`, ""),
);
const headers = fc
  .tuple(
    fc.dictionary(text, text, { maxKeys: 3 }),
    fc.record(
      {
        authorization: fc.oneof({ weight: 9, arbitrary: bearer }, text),
        "content-type": mostly("application/json", text),
        "idempotency-key": mostly("key", fc.oneof(fc.uuid(), text)),
        "x-operation-id": fc.oneof(fc.uuid(), text),
        "x-retell-signature": fc.oneof(fc.constant(signature), text),
        "content-encoding": fc.constantFrom("gzip", "br", "identity"),
      },
      { requiredKeys: ["authorization", "content-type"] },
    ),
  )
  .map(([odd, own]) => ({ ...odd, ...own }));
const chatId = fc.oneof(fc.constantFrom(...chatIds), text).map((id) => id.toWellFormed());
const field = fc.oneof(fc.jsonValue({ maxDepth: 3 }), text, fc.constantFrom(world.agentId, "ping", 0, "", "\ud800"));
const json = fc.oneof(
  fc.record(
    { agentId: field, content: field, agent_version: field, metadata: field, retell_llm_dynamic_variables: field },
    { requiredKeys: [] },
  ),
  fc.constant({ agentId: world.agentId, content: "ping" }),
  fc.jsonValue(),
);
const bodies = fc.oneof(
  { weight: 5, arbitrary: json.map((value) => JSON.stringify(value)) },
  { weight: 1, arbitrary: text },
  { weight: 1, arbitrary: fc.constant("{}") },
);

it("whatever is sent over HTTP is answered in our envelope, and is never an error of ours", async () => {
  const methods = fc.constantFrom("GET", "POST", "HEAD", "PUT", "OPTIONS", "x");
  const right = fc
    .tuple(fc.constantFrom(...Object.values<Route>(routes)), mostly(subaccountId, fc.constantFrom(...ids)), chatId)
    .chain(([{ name, method, path }, id, chat]) => {
      const own = name === "delete" ? `${chat}-` : chat; // the others need the chats
      const filled = path.replace("{subaccountId}", id).replace("{chatId}", () => encodeURIComponent(own));
      return fc.tuple(mostly<string>(method, methods), fc.constant(filled));
    });
  const wrong = fc.tuple(methods, fc.oneof(fc.webPath(), text));
  const line = fc.oneof({ weight: 9, arbitrary: right }, wrong);
  const query = fc.oneof(
    fc.constant(""),
    fc.webQueryParameters().map((given) => `?${given}`),
    fc.dictionary(fc.constantFrom("limit", "cursor", "after_seq", "include", "consistency"), text).map((given) => {
      const wellFormed = Object.entries(given).map(([name, value]): [string, string] => [name, value.toWellFormed()]);
      return `?${new URLSearchParams(wellFormed)}`;
    }),
  );
  const request: fc.Arbitrary<HttpRequest> = fc
    .tuple(line, query, headers, fc.oneof({ weight: 4, arbitrary: bodies }, fc.uint8Array()))
    .map(([[method, path], search, sent, body]) => ({ method, target: path + search, headers: sent, body }));

  const met = new Set<string>();
  await fc.assert(
    fc.asyncProperty(request, async (asked) => {
      const match = findRoute(asked.method, split(asked.target)[0]);
      const name = match.route.name as Name;
      const { handler } = await import(`../functions/${name}.ts`);
      const code = expectEnvelope(name, await handler(toEvent(asked, match), { awsRequestId: crypto.randomUUID() }));
      expect(code).not.toBe("INTERNAL_ERROR");
      met.add(`${name} ${code ?? "OK"}`);
    }),
    { numRuns: runs(600) },
  );
  if (!process.env.TEST_ALL_RUNS) return;
  // Some requests passed the first checks.
  for (const expected of ["create OK", "list OK", "transcript OK", "message VALIDATION_ERROR", "default NOT_FOUND"]) {
    expect(met).toContain(expected);
  }
});

it("whatever a function is invoked with, it answers in our envelope and does not throw", async () => {
  const anything = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withTypedArray: true,
  });
  const listed = fc.oneof(
    anything,
    fc.uuid().map((id) => [id]),
  );
  const odd = <T>(usual: fc.Arbitrary<T>) => fc.oneof({ weight: 6, arbitrary: usual }, anything);
  const event = odd(
    fc.record(
      {
        headers: odd(
          fc.oneof(headers, fc.dictionary(fc.constantFrom("authorization", "x-operation-id", "content-type"), listed)),
        ),
        pathParameters: odd(
          fc.record({ subaccountId: odd(fc.constantFrom(...ids)), chatId: odd(fc.constantFrom(...chatIds)) }),
        ),
        queryStringParameters: odd(fc.dictionary(fc.constantFrom("limit", "cursor", "include"), odd(text))),
        requestContext: odd(fc.record({ http: odd(fc.record({ method: odd(text), path: odd(text) })) })),
        body: odd(bodies),
        isBase64Encoded: odd(fc.boolean()),
      },
      { requiredKeys: [] },
    ),
  );

  for (const name of Object.keys(routes) as Name[]) {
    const { handler } = await import(`../functions/${name}.ts`);
    await fc.assert(
      fc.asyncProperty(event, async (given) => {
        expectEnvelope(name, await handler(given, { awsRequestId: crypto.randomUUID() }));
      }),
      { numRuns: runs(150) },
    );
  }
});
