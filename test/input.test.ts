import { describe, expect, it } from "vitest";
import * as z from "zod";
import type { Handler } from "../lib/chain.ts";
import { NewMessage } from "../lib/chat/schema.ts";
import { routes } from "../lib/routes.ts";
import { aChat, aContext, aWorld, call, control, type Name, type Request } from "./support/world.ts";

const world = await aWorld();
const { subaccountId, agentId, owner, stranger } = world;

const create = (body: unknown, more: Request = {}) =>
  call("create", { token: owner.token, subaccountId, body, ...more });
/** What is said to be wrong with a create. */
const problems = async (body: unknown): Promise<[field: string, message: string][]> => {
  const { status, body: answer } = await create(body);
  expect([status, answer.code]).toEqual([400, "VALIDATION_ERROR"]);
  return answer.errors.map(({ field, message }: { field: string; message: string }) => [field, message]);
};

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

describe("a limit of a text", () => {
  const emoji = (units: number) => "😀".repeat(units / 2);
  const tooBig = (most: number) => `Too big: expected string to have <=${most} characters`;

  it("counts UTF-16 units, of which an emoji has two", async () => {
    const chatId = await aChat(world);
    const send = (content: string) => call("message", { token: owner.token, subaccountId, chatId, body: { content } });
    expect((await send(emoji(10_000))).status).toBe(200);
    for (const content of [emoji(10_002), "x".repeat(10_001)]) {
      expect((await send(content)).body.errors).toEqual([{ field: "body.content", message: tooBig(10_000) }]);
    }
    expect(await problems({ agentId: emoji(130) })).toEqual([["body.agentId", tooBig(128)]]);
    const named = async (name: string) =>
      (await create({ agentId, retell_llm_dynamic_variables: { [name]: "v" } })).status;
    expect([await named(emoji(128)), await named(emoji(130))]).toEqual([200, 400]);
  });

  it("is told to whoever documents it", () => {
    expect(z.toJSONSchema(NewMessage).properties?.content).toMatchObject({ minLength: 1, maxLength: 10_000 });
  });

  it("is not told of what is no text, nor a second rule of a text that is empty: one mistake, one error", async () => {
    expect(await problems({ agentId: [] })).toEqual([
      ["body.agentId", "Invalid input: expected string, received array"],
    ]);
    const empty = "Too small: expected string to have >=1 characters";
    expect(await problems({ agentId: "" })).toEqual([["body.agentId", empty]]);
    const { body } = await call("message", {
      token: owner.token,
      subaccountId,
      chatId: "chat_any",
      body: { content: "" },
    });
    expect(body.errors).toEqual([{ field: "body.content", message: empty }]);
  });
});

describe("a field that is null", () => {
  const fields = ["agent_version", "metadata", "retell_llm_dynamic_variables"];

  it("counts as absent, where it may be", async () => {
    const { status, body } = await create({ agentId, ...Object.fromEntries(fields.map((field) => [field, null])) });
    expect(status).toBe(200);
    const { requests } = await control("retell", "GET", `/requests?chat_id=${body.data.chat_id}&step=create`);
    expect(requests[0].body).toEqual({
      agent_id: agentId,
      metadata: expect.any(Object),
      retell_llm_dynamic_variables: { phone_number: "", agent_id: agentId, subaccount_id: subaccountId },
    });
    expect((await world.db.collection("chats").findOne({ chat_id: body.data.chat_id }))?.metadata).toEqual({});
  });

  it("is refused where it must not be: agentId, content, a variable", async () => {
    const text = "Invalid input: expected string, received null";
    expect(await problems({ agentId: null })).toEqual([["body.agentId", text]]);
    const message = { token: owner.token, subaccountId, chatId: "chat_any", body: { content: null } };
    expect((await call("message", message)).body.errors).toEqual([{ field: "body.content", message: text }]);
    expect(await problems({ agentId, retell_llm_dynamic_variables: { a: null } })).toMatchObject([
      ["body.retell_llm_dynamic_variables.a", expect.any(String)],
    ]);
  });
});

describe("a body of nothing but mistakes", () => {
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
