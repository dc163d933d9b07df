import { describe, expect, it } from "vitest";
import type { Handler } from "../lib/chain.ts";
import { routes } from "../lib/routes.ts";
import { aContext, aWorld, call, type Name } from "./support/world.ts";

const world = await aWorld();
const { subaccountId, agentId, owner, stranger } = world;

describe("a cursor that is none", () => {
  it.each(["!!", "WzFd", "x".repeat(600)])("is a mistake before it is a question of permission: %j", async (cursor) => {
    const { status, body } = await call("list", { token: stranger.token, subaccountId, query: { cursor } });
    expect([status, body.code, body.errors[0].field]).toEqual([400, "VALIDATION_ERROR", "query.cursor"]);
  });

  it("is named beside the other mistakes", async () => {
    const query = { cursor: "!!", limit: "0" };
    const { status, body } = await call("list", { token: owner.token, subaccountId: "nope", query });
    expect([status, body.errors.map(({ field }: { field: string }) => field).sort()]).toEqual([
      400,
      ["params.subaccountId", "query.cursor", "query.limit"],
    ]);
  });
});

describe("a body of nothing but mistakes", () => {
  const create = (body: unknown) => call("create", { token: owner.token, subaccountId, body });

  it("is told of a hundred of them at most", async () => {
    const variables = Object.fromEntries([...Array(5_000).keys()].map((i) => [`v${i}`, null]));
    const { status, body } = await create({ agentId, retell_llm_dynamic_variables: variables });
    expect([status, body.code, body.errors.length]).toEqual([400, "VALIDATION_ERROR", 100]);
  });

  it("is answered shorter than it is, however long its names are", async () => {
    const variables = Object.fromEntries([...Array(50).keys()].map((i) => [`${i}${"\u001b".repeat(800)}`, null]));
    const sent = JSON.stringify({ agentId, retell_llm_dynamic_variables: variables });
    const { body } = await create(sent);
    const answered = JSON.stringify(body);
    expect(answered.length).toBeLessThan(sent.length / 2);
    expect(answered).not.toContain("\\u001b");
  });
});

describe("an event as no gateway makes it", () => {
  it.each(Object.keys(routes) as Name[])("(an empty test event) still gets our envelope: %s", async (name) => {
    const { handler }: { handler: Handler } = await import(`../functions/${name}.ts`);
    for (const event of [{}, { requestContext: {} }, { headers: {}, requestContext: { http: {} } }]) {
      const { statusCode, headers, body } = await handler(event as never, aContext());
      const answer = JSON.parse(body ?? "");
      expect(headers?.["x-operation-id"]).toBe(answer.meta.operationId);
      if (name === "health") expect([statusCode, answer.success]).toEqual([200, true]);
      else {
        expect(answer).toMatchObject({ success: false, code: expect.any(String), meta: { operation: name } });
        expect(Object.keys(answer.meta).sort()).toEqual(["duration", "operation", "operationId"]);
      }
      const guarded = "permission" in routes[name];
      if (guarded) expect([statusCode, answer.code]).toEqual([401, "ACCESS_TOKEN_REQUIRED"]);
    }
  });
});
