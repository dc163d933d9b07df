import "./support/own-retell.ts";
import "./support/unlimited.ts";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as z from "zod";
import type { HttpRequest } from "../dev/event.ts";
import type { Route } from "../lib/api/route.ts";
import { methodsOf } from "../lib/api/routes.ts";
import { reservedKey } from "../lib/retell/client.ts";
import { guarded, raw, rightRequest, shown, stateOf } from "./support/attack.ts";
import { linesOf, logged } from "./support/instance.ts";
import { aChat, aWorld, call, control, type Request, type Response } from "./support/world.ts";

const world = await aWorld();
const { subaccountId, agentId, owner } = world;
const chatId = await aChat(world);

const withBody = guarded.filter(([, { body }]) => body);
const withQuery = guarded.filter(([, { query }]) => query);
/** The fields of a schema, also of one whose values become something else. */
const fieldsOf = (schema: z.ZodType | undefined): string[] =>
  schema instanceof z.ZodPipe
    ? fieldsOf(schema.in as z.ZodType)
    : Object.keys((schema as z.ZodObject | undefined)?.shape ?? {});

/** What must not be null. */
const required = new Set(["agentId", "content"]);

const right = (route: Route, changes: Partial<Request> = {}) => rightRequest(world, chatId, route, changes);

/** The raw event of a request, for what `call` cannot send. */
function onTheWire(route: Route, { headers, ...changes }: Partial<HttpRequest> = {}): HttpRequest {
  const { token, body } = right(route);
  const target = route.path.replace("{subaccountId}", subaccountId).replace("{chatId}", chatId);
  const own = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  return {
    method: route.method,
    target,
    headers: { ...own, ...headers },
    body: JSON.stringify(body ?? ""),
    ...changes,
  };
}

/** The state before the first refusal of a test, which is compared once all of its attacks are over. */
let before: unknown;
beforeEach(() => {
  before = undefined;
});
afterEach(async () => {
  if (before) expect(await stateOf(world)).toEqual(before);
});

/** 400 for these fields and no other; nothing is written, Retell is not asked, and no object inherits anything. */
async function expectRefused(attack: () => Promise<Response>, fields: string[] | RegExp): Promise<void> {
  before ??= await stateOf(world);
  const { status, body } = await attack();
  expect([status, body.code, body.message]).toEqual([400, "VALIDATION_ERROR", "The request is not valid"]);
  const refused = body.errors.map(({ field }: { field: string }) => field);
  if (Array.isArray(fields)) expect(refused).toEqual(fields);
  else for (const field of refused) expect(field).toMatch(fields);
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect("isAdmin" in {}).toBe(false);
}

const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;
const deepList = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;

/** A good body with one member written by hand. */
function withMember(route: Route, name: string, json: string): string {
  const body = { ...(right(route).body as object), [name]: undefined };
  return `${JSON.stringify(body).slice(0, -1)},${JSON.stringify(name)}:${json}}`;
}

describe.each(withBody)("%s refuses in every field of its body", (name, route) => {
  const attack = (body: string) => () => call(name, right(route, { body }));

  it.each([
    '{"$gt":""}',
    '{"$ne":null}',
    '{"$where":"sleep(5000)"}',
    '{"$regex":".*"}',
    '{"a":{"b":[{"$where":"1"}]}}',
    '{"_bsontype":{"$gt":""}}',
    '[{"$gt":""}]',
    "[]",
    "null",
    '"\\ud800"',
    "1e999",
  ])("the operator, or what is of another type, %s", async (json) => {
    for (const field of fieldsOf(route.body)) {
      if (field === "agentId" && json.startsWith('"')) continue; // a valid text: the agent does not exist
      if (json === "null" && !required.has(field)) continue; // null counts as absent
      await expectRefused(attack(withMember(route, field, json)), new RegExp(`^${field}(\\.|$)`));
    }
  });

  it("prototype keys", async () => {
    for (const json of ['{"__proto__":{"isAdmin":true}}', '{"constructor":{"prototype":{"isAdmin":true}}}']) {
      const [name] = Object.getOwnPropertyNames(JSON.parse(json));
      for (const field of fieldsOf(route.body)) {
        await expectRefused(attack(withMember(route, field, json)), [`${field}.${name}`]);
      }
    }
    for (const member of ["__proto__", "constructor"]) {
      await expectRefused(attack(withMember(route, member, '{"isAdmin":true,"prototype":{}}')), [member]);
    }
  });

  it("10,000 levels of nesting, and as many as a body has room for", async () => {
    for (const json of [deep(10_000), deepList(10_000), deepList(130_000)]) {
      for (const field of fieldsOf(route.body)) {
        await expectRefused(attack(withMember(route, field, json)), new RegExp(`^(body|${field}(\\..+)?)$`));
      }
      await expectRefused(attack(json), /^body$/);
    }
  });
});

describe.each(withBody)("the body of %s", (_name, route) => {
  const good = JSON.stringify(right(route).body);
  const send = (body: string | Uint8Array, headers: Record<string, string> = {}) =>
    raw(onTheWire(route, { body, headers }));

  it("may have 262,144 bytes, however few characters they are, in text or in base64; one more is 413", async () => {
    const padded = (bytes: number, filler: string) => {
      const room = bytes - Buffer.byteLength(good);
      return `${good.slice(0, -1)}${filler.repeat(room / Buffer.byteLength(filler))}}`;
    };
    for (const type of ["application/json", "application/vnd.api+json"]) {
      const fits = await send(padded(262_144, " "), { "content-type": type });
      expect([fits.status < 300, fits.body.code]).toEqual([true, undefined]);
      const before = await stateOf(world);
      for (const body of [
        padded(262_145, " "),
        `"${"ä".repeat(131_072)}"`,
        Buffer.alloc(262_145),
        "[".repeat(262_145),
      ]) {
        const { status, body: answer } = await send(body, { "content-type": type });
        expect([status, answer.code]).toEqual([413, "PAYLOAD_TOO_LARGE"]);
      }
      expect(await stateOf(world)).toEqual(before);
    }
  });

  it.each([
    "text/plain",
    "text/plain; application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "application/jsonx",
    "application/json, text/plain",
    "text/json",
    "json",
    "*/*",
    "",
  ])("is refused by the type %j, though it is JSON", async (type) => {
    await expectRefused(() => send(good, { "content-type": type }), ["content-type"]);
  });

  it.each<[string, () => Uint8Array]>([
    ["UTF-16", () => Buffer.from(good, "utf16le")],
    ["ISO 8859-1", () => Buffer.from(`{"content":"é","agentId":"é"}`, "latin1")],
    [
      "CESU-8, half a pair",
      () => Buffer.concat([Buffer.from('{"content":"'), Buffer.from("eda080", "hex"), Buffer.from('"}')]),
    ],
    [
      "UTF-8, overlong",
      () => Buffer.concat([Buffer.from('{"content":"'), Buffer.from("c0ae", "hex"), Buffer.from('"}')]),
    ],
    ["NUL", () => Buffer.alloc(100)],
    ["JSON with something behind it", () => Buffer.from(`${good}\0`)],
    ["two JSON texts", () => Buffer.from(good + good)],
  ])("is refused as %s, by whatever charset it says", async (_what, bytes) => {
    for (const type of ["application/json", "application/json; charset=utf-16", "application/json; charset=utf-8"]) {
      await expectRefused(() => send(bytes(), { "content-type": type }), ["body"]);
    }
  });

  it("is refused when it is packed, and is not unpacked: a bomb is as small as it is", async () => {
    const bomb = Buffer.concat(Array(20).fill(gzipSync(Buffer.alloc(10_000_000, 0x20))));
    expect(bomb.length).toBeLessThan(262_144);
    for (const packed of [gzipSync(good), bomb]) {
      const before = process.memoryUsage().arrayBuffers;
      await expectRefused(() => send(packed, { "content-encoding": "gzip" }), ["body"]);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50_000_000);
    }
  });
});

describe.each(withQuery)("the query of %s", (name, route) => {
  /** What makes a request right, and its answer the same each time. */
  const base = { search: "q=hello", analytics: "from=0&to=86400000" }[name as string] ?? "";
  const ask = (search: string) => raw(onTheWire(route, { target: `${onTheWire(route).target}?${base}${search}` }));
  const plainOf = ({ body, ...answer }: Response) => {
    const { ignored: _, cached: __, ...meta } = body?.meta ?? {}; // a file has none
    return shown({ ...answer, body: { ...body, meta } });
  };

  it("is refused in every parameter that is no text of its kind, or is harmless", async () => {
    const before = await stateOf(world);
    const chats = await world.db.collection("chats").distinct("chat_id");
    for (const field of fieldsOf(route.query)) {
      for (const value of [
        "1,2",
        '{"$gt":""}',
        "[object Object]",
        "null",
        "undefined",
        "NaN",
        "Infinity",
        "--1",
        "+5",
        " 5",
        "0x10",
        "1e2",
        "5.0",
        "٣",
        "５",
        "5\0",
        "5\r\n",
        "__proto__",
        "constructor",
        "' OR 1=1 --",
        "9".repeat(5_000),
        deepList(5_000),
      ]) {
        const query = { ...Object.fromEntries(new URLSearchParams(base)), limit: "7", [field]: value };
        const { status, body } = await call(name, right(route, { query }));
        if (status === 200) {
          const shown = [body.data].flat().map(({ chat_id }: { chat_id: string }) => chat_id);
          expect(shown.filter((id: string) => !chats.includes(id))).toEqual([]);
        } else {
          expect([status, body.code]).toEqual([400, "VALIDATION_ERROR"]);
          expect(body.errors[0].field.split(".")[0]).toBe(field); // `status.0`: one of its values
        }
      }
    }
    expect(await stateOf(world)).toEqual(before);
  });

  it("holds no operators: brackets and prototype keys are names like any other, and unknown", async () => {
    const plain = plainOf(await ask(""));
    for (const field of fieldsOf(route.query)) {
      for (const search of [
        `&${field}[$gt]=1`,
        `&${field}[]=1`,
        `&${field}[__proto__][isAdmin]=1`,
        `&${field}.$ne=1`,
      ]) {
        expect(plainOf(await ask(search))).toEqual(plain);
      }
    }
    for (const search of [
      "&$where=sleep(5000)",
      "&__proto__=1",
      "&__proto__[limit]=1",
      "&constructor[prototype][limit]=1",
      "&prototype=1",
      "&subaccountId=64b000000000000000000001",
      "&chatId=chat_x",
      "&%00=1",
      "&%zz=1",
      "&=1",
    ]) {
      expect(plainOf(await ask(search))).toEqual(plain);
    }
    expect("isAdmin" in {}).toBe(false);
  });

  it("refuses a parameter that is given twice, equal or not", async () => {
    for (const field of fieldsOf(route.query)) {
      const once = base.includes(`${field}=`) ? "" : `&${field}=7`;
      for (const search of [`${once}&${field}=7`, `${once}&${field}=8`]) {
        await expectRefused(() => ask(search), [field]);
      }
    }
  });
});

describe.each(guarded)("the path of %s", (name, route) => {
  it.each([
    "６４b000000000000000000001",
    "64b00000000000000000000а",
    "64b000000000000000000001\u200b",
    "\u202e64b000000000000000000001",
    "64b000000000000000000001\0",
    "64b000000000000000000001\r\nx: y",
    "64b000000000000000000001%00",
    "%36%34b000000000000000000001",
    "__proto__",
    "constructor",
    '{"$gt":""}',
    "[object Object]",
    "64b000000000000000000001,64b000000000000000000001",
    "-4b000000000000000000001",
    "x".repeat(5_000),
  ])("takes no other spelling of a subaccountId: %j", async (odd) => {
    await expectRefused(() => call(name, right(route, { subaccountId: odd })), ["subaccountId"]);
  });

  it("knows no chat by the name of a prototype", async () => {
    if (!route.path.includes("{chatId}")) return;
    for (const odd of ["__proto__", "constructor", "prototype", "toString"]) {
      expect((await call(name, right(route, { chatId: odd }))).body.code).toBe("CHAT_NOT_FOUND");
    }
    for (const odd of ["chat\r\nx", "chat\0", "сhat", "chat\u200b", "%2e%2e", "../x".replace("/", "%2f"), "chat;x=1"]) {
      await expectRefused(() => call(name, right(route, { chatId: odd })), ["chatId"]);
    }
  });

  it("leads nowhere else by dots, slashes or escapes", async () => {
    const before = await stateOf(world);
    const { target } = onTheWire(route);
    for (const other of [
      target.replace("/api/", "/api/../api/"),
      target.replace("/api/", "/api/./"),
      target.replace("/api/", "//api/"),
      target.replace("/api/", "/%2e%2e/api/"),
      target.replace("/api/", "/api%2f"),
      target.replace("/api/", "\\api\\"),
      target.replace(subaccountId, `64b000000000000000000001/../${subaccountId}`),
      target.replace(subaccountId, `${subaccountId}%2f..`),
      target.replace(subaccountId, `${subaccountId}/`),
      target.replace(subaccountId, `${subaccountId};x=1`),
      target.replace(subaccountId, `${subaccountId}%c0%ae`),
      target.replace(subaccountId, `${subaccountId}%ff`),
      target.replace(subaccountId, `${subaccountId}%00`),
      target.replace(subaccountId, "%"),
      `${target}/`,
      `${target}%20`,
      `${target}.json`,
      target.toUpperCase(),
      `http://evil.example${target}`,
    ]) {
      const { status, body } = await raw(onTheWire(route, { target: other }));
      // What looks like a chat's id belongs to the routes of chats: there is no such chat, or they have another method.
      const codes = { 404: /^(CHAT_|EXPORT_)?NOT_FOUND$/, 400: /^VALIDATION_ERROR$/, 405: /^METHOD_NOT_ALLOWED$/ };
      expect(body).toMatchObject({ success: false, code: expect.stringMatching(Object(codes)[status] ?? "none") });
    }
    expect(await stateOf(world)).toEqual(before);
  });

  it("has one method, whatever a header, the query or the body says: 405 with Allow", async () => {
    const before = await stateOf(world);
    const override = {
      "x-http-method-override": route.method,
      "x-http-method": route.method,
      "x-method-override": route.method,
    };
    for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "post"]) {
      const allowed = methodsOf(onTheWire(route).target);
      if (allowed.includes(method)) continue;
      // For API Gateway that is the deletion of a chat of this name, which no chat has: 400.
      if (method === "DELETE" && !route.path.includes("{chatId}/")) continue;
      const target = `${onTheWire(route).target}?_method=${route.method}`;
      const { status, headers, body } = await raw(onTheWire(route, { method, target, headers: override }));
      expect([method, status, body.code, headers.allow]).toEqual([
        method,
        405,
        "METHOD_NOT_ALLOWED",
        allowed.join(", "),
      ]);
    }
    expect(await stateOf(world)).toEqual(before);
  });
});

describe.each(guarded)("a line break in what is sent to %s", (name, route) => {
  const evil = `x\r\nset-cookie: evil=1\r\n\r\n{"level":"ERROR","message":"evil"}`;

  it("comes out in no header, no answer and no line of the log of its own", async () => {
    const fields = Object.fromEntries(fieldsOf(route.body).map((field) => [field, evil]));
    const attacks: Partial<Request>[] = [
      ...[
        "x-operation-id",
        "idempotency-key",
        "user-agent",
        "x-forwarded-for",
        "origin",
        "referer",
        "host",
        "accept",
      ].map((header) => ({ headers: { [header]: evil } })),
      { subaccountId: evil },
      { chatId: evil },
      { query: { [evil]: evil, limit: evil, cursor: evil } },
      { body: { ...fields, [evil]: evil } },
      { body: evil },
      { token: evil },
    ];
    for (const attack of attacks) {
      const own = route.path.includes("{chatId}") ? await aChat(world) : chatId;
      const from = logged.length;
      const { headers, body } = await call(name, right(route, { chatId: own, ...attack }));
      expect(Object.entries(headers).flat().join("")).not.toMatch(/[\r\n]|evil/);
      const { operationId } = body.meta ?? { operationId: headers["x-operation-id"] }; // a file has none
      expect(JSON.stringify(body.meta ?? "") + body.message + JSON.stringify(body.errors ?? "")).not.toMatch(
        /\\r|\\n|set-cookie/,
      );
      const lines = logged.slice(from);
      expect(lines).toHaveLength(1);
      expect(linesOf(operationId)).toMatchObject([{ level: "INFO", operation: name }]);
      if (!("body" in attack)) expect(lines[0]).not.toContain("evil"); // an agentId is logged, as the text that it is
    }
  });
});

describe.each(withBody)("what is wrong with a request to %s", (name, route) => {
  it("is said by names and rules, never by what was sent: it may be a secret", async () => {
    const canary = "canary-4f1c";
    for (const value of [
      canary,
      [canary],
      { [reservedKey]: { a: { $x: canary } } },
      { v: [canary] },
      { v: { v: canary } },
    ]) {
      const body = Object.fromEntries(fieldsOf(route.body).map((field) => [field, value]));
      const token = canary;
      const requests: Partial<Request>[] = [
        { body },
        { body, subaccountId: canary, query: { limit: canary, cursor: canary } },
        { body, chatId: `${canary}.`, headers: { "idempotency-key": `${canary} ` } },
        { body: `{"a":"${canary}` },
        { body: canary, headers: { "content-type": canary } },
        { body, token },
      ];
      for (const request of requests) {
        const { status, body: answer } = await call(name, right(route, request));
        if (status !== 200) expect(JSON.stringify(answer)).not.toContain(canary);
      }
    }
    expect(logged.filter((line) => line.includes(canary) && !line.includes(`"agentId":"${canary}"`))).toEqual([]);
  });
});

describe("dynamic variables and metadata that look like ours", () => {
  const asked = async (id: string) => {
    const { requests } = await control("retell", "GET", `/requests?step=create&chat_id=${id}`);
    return requests[0].body;
  };
  const spellings = (name: string) => [
    name,
    name.toUpperCase(),
    ` ${name}`,
    `${name} `,
    `${name}\u200b`,
    `\ufeff${name}`,
    name.replace("a", "а"),
    name.replaceAll("_", "＿"),
    `${name}\n`,
  ];

  it("stay the caller's own; ours stand under their exact names", async () => {
    const names = ["agent_id", "subaccount_id", "chat_id"].flatMap(spellings);
    const variables = Object.fromEntries([...names, "constructor", "toString"].map((name) => [name, "evil"]));
    const { body } = await call("create", {
      token: owner.token,
      subaccountId,
      body: { agentId, retell_llm_dynamic_variables: variables },
    });
    const { chat_id: _unknownYet, ...sent } = variables;
    const ours = { agent_id: agentId, subaccount_id: subaccountId };
    const id = body.data.chat_id;
    expect((await asked(id)).retell_llm_dynamic_variables).toEqual({ phone_number: "", ...sent, ...ours });
    expect(body.data.retell_llm_dynamic_variables).toEqual({ phone_number: "", ...sent, ...ours, chat_id: id });
    const stored = await world.db.collection("chats").findOne({ chat_id: id });
    expect(stored?.retell_llm_dynamic_variables).toEqual(body.data.retell_llm_dynamic_variables);
  });

  it("under the reserved key are stripped, under others and deeper they are the caller's", async () => {
    const spoof = { subaccountId: "64b000000000000000000001", request: "x", operationId: "y" };
    const { [reservedKey]: _stripped, ...kept } = Object.fromEntries(
      spellings(reservedKey).map((name) => [name, spoof]),
    );
    const names = ["toJSON", "then", "toString", "constructor", "prototype", "toBSON", "hasOwnProperty"];
    const odd = Object.fromEntries(names.map((name) => [name, "odd"]));
    const metadata = { ...kept, ...odd, deeper: { [reservedKey]: spoof } };
    const { body } = await call("create", {
      token: owner.token,
      subaccountId,
      body: { agentId, metadata: { ...metadata, [reservedKey]: spoof } },
    });
    const id = body.data.chat_id;
    const ours = { operationId: body.meta.operationId, subaccountId, stage: "test" };
    expect((await asked(id)).metadata).toEqual({ ...metadata, [reservedKey]: ours });
    expect((await world.db.collection("chats").findOne({ chat_id: id }))?.metadata).toEqual(metadata);
    const transcript = await call("transcript", { token: owner.token, subaccountId, chatId: id });
    expect(transcript.body.data.metadata).toEqual(metadata);
  });
});
