import { describe, expect, it } from "vitest";
import * as z from "zod";
import type { Handler } from "../lib/api/call.ts";
import { routes } from "../lib/api/routes.ts";
import { CreateChatBody, SendMessageBody } from "../lib/chat/schema.ts";
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
    expect([status, body.code, body.errors[0].field]).toEqual([400, "VALIDATION_ERROR", "cursor"]);
  });

  it("is named beside the other mistakes", async () => {
    const query = { cursor: "!!", limit: "0" };
    const { status, body } = await call("list", { token: owner.token, subaccountId: "nope", query });
    expect([status, body.errors.map(({ field }: { field: string }) => field).sort()]).toEqual([
      400,
      ["cursor", "limit", "subaccountId"],
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
      expect((await send(content)).body.errors).toEqual([{ field: "content", in: "body", message: tooBig(10_000) }]);
    }
    expect(await problems({ agentId: emoji(130) })).toEqual([["agentId", tooBig(128)]]);
    const named = async (name: string) =>
      (await create({ agentId, retell_llm_dynamic_variables: { [name]: "v" } })).status;
    expect([await named(emoji(128)), await named(emoji(130))]).toEqual([200, 400]);
  });

  it("is told to whoever documents it", () => {
    expect(z.toJSONSchema(SendMessageBody).properties?.content).toMatchObject({ minLength: 1, maxLength: 10_000 });
  });

  it("is not told of what is no text, nor a second rule of a text that is empty: one mistake, one error", async () => {
    expect(await problems({ agentId: [] })).toEqual([["agentId", "Invalid input: expected string, received array"]]);
    const empty = "Too small: expected string to have >=1 characters";
    expect(await problems({ agentId: "" })).toEqual([["agentId", empty]]);
    const { body } = await call("message", {
      token: owner.token,
      subaccountId,
      chatId: "chat_any",
      body: { content: "" },
    });
    expect(body.errors).toEqual([{ field: "content", in: "body", message: empty }]);
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

  it("counts as absent among the variables too, before they are counted, if its name may stand there", async () => {
    const nulls = Object.fromEntries([...Array(200).keys()].map((i) => [`v${i}`, null]));
    const { status, body } = await create({ agentId, retell_llm_dynamic_variables: { ...nulls, a: null, b: "" } });
    expect([status, body.data.retell_llm_dynamic_variables]).toEqual([
      200,
      { phone_number: "", b: "", agent_id: agentId, subaccount_id: subaccountId, chat_id: body.data.chat_id },
    ]);
    expect((await problems({ agentId, retell_llm_dynamic_variables: { $ne: null } })).map(([field]) => field)).toEqual([
      "retell_llm_dynamic_variables.$ne",
    ]);
  });

  it("is refused where it must not be: agentId, content", async () => {
    const text = "Invalid input: expected string, received null";
    expect(await problems({ agentId: null })).toEqual([["agentId", text]]);
    const message = { token: owner.token, subaccountId, chatId: "chat_any", body: { content: null } };
    expect((await call("message", message)).body.errors).toEqual([{ field: "content", in: "body", message: text }]);
  });
});

describe("what is wrong is named", () => {
  const refused = "The name: Must not be __proto__, nor constructor with a prototype inside";
  const unstorable =
    "The name: Must not begin with $, hold a dot, NUL or half of a surrogate pair, or be __proto__ or _bsontype";

  it.each<[what: string, body: string, expected: [string, string][]]>([
    ["__proto__", '{"agentId": "a", "__proto__": {}}', [["__proto__", refused]]],
    ["it, deeper", '{"agentId": "a", "metadata": {"a": [7, {"__proto__": 1}]}}', [["metadata.a.1.__proto__", refused]]],
    [
      "what stands in it",
      '{"a": {"constructor": {"prototype": 1}}, "b": {"constructor": 1, "prototype": {"__proto__": null}}}',
      [
        ["a.constructor", refused],
        ["b.prototype.__proto__", refused],
      ],
    ],
    [
      "its depth",
      `{"agentId": "a", "x": ${"[".repeat(10_000)}${"]".repeat(10_000)}}`,
      [["body", "Must be nested less deeply"]],
    ],
    ["a name at a depth", `${"[".repeat(500)}{"__proto__": 1}${"]".repeat(500)}`, [["0.".repeat(100), refused]]],
    ["that it is none", '{"agentId": "a"', [["body", "Must be a JSON object"]]],
  ])("in JSON that is not taken: %s", async (_what, body, expected) => {
    expect(await problems(body)).toEqual(expected);
  });

  it("in metadata, with the way to it, and all of it at once", async () => {
    const metadata = { "a.b": 1, fine: { things: ["x", { $where: 1 }, "\ud800"] }, "": { "\0": { _bsontype: 1 } } };
    expect(await problems({ agentId, metadata })).toEqual([
      ["metadata.a.b", unstorable],
      ["metadata..?", unstorable],
      ["metadata.fine.things.2", "Must not hold half of a surrogate pair"],
      ["metadata..?._bsontype", unstorable],
      ["metadata.fine.things.1.$where", unstorable],
    ]);
    expect(await problems({ agentId, metadata: [] })).toEqual([["metadata", "Must be an object"]]);
  });

  it("in numbers that JSON can say and no answer could: they would be null", async () => {
    const metadata = '{"a": 1e400, "b": [-1e400, 1e308], "c": 1e-400}';
    const finite = "Must be a finite number";
    expect(await problems(`{"agentId": "a", "metadata": ${metadata}}`)).toEqual([
      ["metadata.a", finite],
      ["metadata.b.0", finite],
    ]);
  });

  it.each<[number: string, isRefused: boolean]>([
    ["9007199254740993", true],
    ["-9007199254740993", true],
    ["12345678901234567890", true],
    ["17841400008460057", true],
    ["12345678901234567890.0", true],
    ["123456789012345678901e3", true],
    ["9007199254740992", false],
    ["9007199254740991", false],
    ["12345678901234567000", false],
    ["1000000000000000000000", false],
    ["1e21", false],
    ["1E+23", false],
    ["0.1", false],
    ["0.1234567890123456789", false],
    ["1.00000000000000000001", false],
    ["0.0000001", false],
    ["-0.0000000000000000", false],
  ])("in integers of metadata that no double holds: %s", async (number, isRefused) => {
    const text = (value: string) =>
      `{"agentId": "${agentId}", "metadata": {"ig_id": ${value}, "in": [{"it": [${value}]}]}}`;
    if (!isRefused) return expect((await create(text(number))).status).toBe(200);
    const rule = "Must be an integer that a double holds: send it as a string";
    expect(await problems(text(number))).toEqual([
      ["metadata.ig_id", rule],
      ["metadata.in.0.it.0", rule],
    ]);
    expect((await create(text(JSON.stringify(number)))).status).toBe(200);
  });

  it("in integers of metadata as often as they stand there, with what else is wrong", async () => {
    const body =
      '{"agentId": "a", "metadata": {"a": 12345678901234567890, "a": 1, "b": 12345678901234567890, "$": 1e400}}';
    expect((await problems(body)).map(([field]) => field)).toEqual(["metadata.b", "metadata.$", "metadata.$"]);
  });

  it("in the names and values of variables", async () => {
    const variables = { "": "v", [`${"n".repeat(129)}`]: "v", $x: "v", "a.b": "v", object: {}, many: [], ok: 1 };
    const kinds = "Must be a string, a finite number or a boolean";
    const at = (name: string) => `retell_llm_dynamic_variables.${name}`;
    expect(await problems({ agentId, retell_llm_dynamic_variables: variables })).toEqual([
      [at(""), "The name: Too small: expected string to have >=1 characters"],
      [at("n".repeat(64)), "The name: Too big: expected string to have <=128 characters"],
      [at("$x"), unstorable],
      [at("a.b"), unstorable],
      [at("object"), kinds],
      [at("many"), kinds],
    ]);
    expect(await problems('{"agentId": "a", "retell_llm_dynamic_variables": {"v": 1e400}}')).toEqual([
      [at("v"), kinds],
    ]);
    expect(await problems({ agentId, retell_llm_dynamic_variables: "v" })).toEqual([
      ["retell_llm_dynamic_variables", "Must be an object"],
    ]);
  });

  it.each([[1.5], [true], [[]], ["PROD"], [""]])("in the version %j", async (agent_version) => {
    const rule = "Must be an integer from 0, or a tag of 1 to 20 of a-z, 0-9, _ and -";
    expect(await problems({ agentId, agent_version })).toEqual([["agent_version", rule]]);
  });

  it("in as few words as there is room for, however deep and long its names are", async () => {
    const name = "n".repeat(1_000);
    const inner = Object.fromEntries([...Array(200).keys()].map((i) => [`$${i}`, 1]));
    const metadata = [...Array(15)].reduce((value: object) => ({ [name]: value }), inner);
    const told = await problems({ agentId, metadata });
    expect(told).toHaveLength(100);
    expect(Math.max(...told.map(([field]) => field.length))).toBe(200);
    expect(told[0]?.[0]).toMatch(/^metadata\.n{64}\.n{64}\.n+$/);
  });
});

describe("a body of nothing but mistakes", () => {
  it("is told of a hundred of them at most", async () => {
    const variables = Object.fromEntries([...Array(5_000).keys()].map((i) => [`v${i}`, []]));
    const { status, body } = await create({ agentId, retell_llm_dynamic_variables: variables });
    expect([status, body.code, body.errors.length]).toEqual([400, "VALIDATION_ERROR", 100]);
  });

  it("is searched within a bound of work: keys are counted before they are looked at", async () => {
    const filled = (open: string, member: (i: number) => string, close: string) => {
      let text = open;
      for (let i = 0; text.length < 261_000; i++) text += `${i > 0 ? "," : ""}${member(i)}`;
      return `${text}${close}`;
    };
    const tooMany = { field: "retell_llm_dynamic_variables", in: "body", message: "Must be 100 keys at most" };
    const tooLarge = { field: "metadata", in: "body", message: "Must be 50176 bytes of JSON at most" };
    const variables = '{"agentId":"a","retell_llm_dynamic_variables":{';
    for (const [text, expected] of [
      [filled(variables, (i) => `"${i}":""`, "}}"), [tooMany]],
      [filled(variables, (i) => `"v${i}":[]`, "}}"), undefined],
      [filled(variables, (i) => `"$${i}":null`, "}}"), undefined],
      [filled(variables, (i) => `"v${i}":[null]`, "}}"), undefined],
      [filled('{"agentId":"a","metadata":{"a":[', () => "1", "]}}"), [tooLarge]],
      [filled('{"agentId":"a","metadata":{', (i) => `"${i}":[]`, "}}"), [tooLarge]],
    ] as const) {
      const { status, body } = await create(text);
      expect([status, body.errors.length <= 100]).toEqual([400, true]);
      if (expected) expect(body.errors).toEqual(expected);
      // What the answer does not name was not searched: one variable more than is allowed.
      expect(CreateChatBody.safeParse(JSON.parse(text)).error?.issues.length).toBeLessThanOrEqual(101);
    }
  });

  it("is answered shorter than it is, however long its names are", async () => {
    const variables = Object.fromEntries([...Array(50).keys()].map((i) => [`${i}${"\u001b".repeat(800)}`, []]));
    const sent = JSON.stringify({ agentId, retell_llm_dynamic_variables: variables });
    const { body } = await create(sent);
    const answered = JSON.stringify(body);
    expect(answered.length).toBeLessThan(sent.length / 2);
    expect(answered).not.toContain("\\u001b");
  });
});

describe("an event as no gateway makes it", () => {
  const inEnvelope = (Object.keys(routes) as Name[]).filter((name) => name !== "openapi"); // it answers a document
  it.each(inEnvelope)("(an empty test event) still gets our envelope: %s", async (name) => {
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
