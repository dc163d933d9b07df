import { sign } from "retell-sdk/lib/webhook_auth";
import { describe, expect, it } from "vitest";
import type { HttpRequest } from "../dev/event.ts";
import { raw } from "./support/attack.ts";
import { linesOf } from "./support/instance.ts";
import { aChat, aWorld, call, control, type Name } from "./support/world.ts";

const world = await aWorld();
const { subaccountId, agentId, owner } = world;
const bom = "\ufeff";

type Lines = (readonly [name: string, value: string])[];

/** A request whose headers are sent as they stand here, line by line. */
const post = (path: string, body: string | Uint8Array, lines: Lines) =>
  raw({
    method: "POST",
    target: `/api/chats/${subaccountId}/${path}`,
    headers: [["authorization", `Bearer ${owner.token}`], ...lines],
    body,
  } satisfies HttpRequest);

const json = ["content-type", "application/json"] as const;
const keyed = (...keys: string[]): Lines => [json, ...keys.map((key) => ["Idempotency-Key", key] as const)];
const ping = JSON.stringify({ content: "ping" });

describe("an Idempotency-Key", () => {
  it.each<[string, string[], string[]]>([
    ["in two equal lines", ["k1"], ["k1", "k1"]],
    ["in three, joined by a proxy", ["k1"], ["k1, k1 ,\tk1"]],
    ["in quotes", ["k1"], ['"k1"']],
    ["in quotes and two lines", ["k1"], ['"k1"', '"k1"']],
    ["with and without quotes", ["k1"], ["k1", '"k1"']],
    ["with a comma in its quotes", ['"a,b"'], ['"a,b"', '"a,b"']],
    ["in quotes, with parameters", ["k1"], ['"k1";p=1', '"k1" ; q="a,b"']],
    ["with escapes in its quotes", ['say"hi"\\'], [String.raw`"say\"hi\"\\"`]],
  ])("%s is the same key", async (_what, first, second) => {
    const chatId = await aChat(world);
    const once = await post(`${chatId}/message`, ping, keyed(...first));
    const again = await post(`${chatId}/message`, ping, keyed(...second));
    expect([once.status, again.status]).toEqual([200, 200]);
    expect(again.headers["idempotent-replayed"]).toBe("true");
    expect(again.body.data).toEqual(once.body.data);
    const { requests } = await control("retell", "GET", `/requests?step=completion&chat_id=${chatId}`);
    expect(requests).toHaveLength(1);
  });

  it.each([[["k1", "k2"]], [["k1", "K1"]], [["a,b"]], [["k1", '"k1,"']], [['"k1"', '"k2"']], [["k1", "k1;p=1"]]])(
    "of different lines, as %j, is refused by name",
    async (keys) => {
      const chatId = await aChat(world);
      const { status, body } = await post(`${chatId}/message`, ping, keyed(...keys));
      expect([status, body.code]).toEqual([400, "VALIDATION_ERROR"]);
      expect(body.errors).toEqual([
        { field: "idempotency-key", in: "header", message: expect.stringContaining("one value") },
      ]);
    },
  );

  it.each(['""', '"a b"', `"${"x".repeat(256)}"`, ",", ",,"])("is refused as %j", async (key) => {
    const { status, body } = await post("create", JSON.stringify({ agentId }), keyed(key));
    expect([status, body.errors]).toEqual([
      400,
      [{ field: "idempotency-key", in: "header", message: expect.any(String) }],
    ]);
  });
});

describe("a Content-Type of JSON", () => {
  it.each([
    ["application/json ; charset=utf-8"],
    ["application/json\t;charset=utf-8"],
    ["application/json\t"],
    [" application/json"],
    ["APPLICATION/JSON; Charset=UTF-8"],
    ['application/json; charset="utf-8"'],
    ['application/json;charset="UTF-8" ; x="a,b"'],
    ["application/vnd.api+json ; v=1"],
    ["application/json", "application/json"],
    ["application/json; charset=utf-8", "application/json"],
    ["application/json, application/json"],
  ])("may be written %j", async (...types) => {
    const lines = types.map((type) => ["Content-Type", type] as const);
    const { status, body } = await post("create", JSON.stringify({ agentId }), lines);
    expect([status, body.errors]).toEqual([200, undefined]);
  });

  it.each([
    ["application/json", "text/plain"],
    ["application/json; x=1 text/plain, text/plain"],
    ["application/ json"],
  ])("may not be %j", async (...types) => {
    const lines = types.map((type) => ["Content-Type", type] as const);
    const { status, body } = await post("create", JSON.stringify({ agentId }), lines);
    expect([status, body.errors]).toEqual([
      400,
      [{ field: "content-type", in: "header", message: "Must be application/json" }],
    ]);
  });
});

describe("an X-Operation-Id", () => {
  const id = crypto.randomUUID();
  const named = (...ids: string[]): Lines => [json, ...ids.map((one) => ["X-Operation-Id", one] as const)];

  it("counts once, however often it is repeated and in whatever case", async () => {
    const { body, headers } = await post("create", JSON.stringify({ agentId }), named(id, id.toUpperCase(), id));
    expect([body.meta.operationId, headers["x-operation-id"]]).toEqual([id, id]);
  });

  it("of two different values is refused by name", async () => {
    const { status, body } = await post("create", JSON.stringify({ agentId }), named(id, crypto.randomUUID()));
    expect([status, body.errors]).toEqual([
      400,
      [{ field: "x-operation-id", in: "header", message: expect.stringContaining("one value") }],
    ]);
  });
});

describe("a webhook's signature", () => {
  const event = JSON.stringify({ event: "chat_started", chat: { chat_id: "chat_of_others" } });
  const deliver = (body: string | Uint8Array, ...signatures: string[]) =>
    raw({
      method: "POST",
      target: `/api/webhooks/retell/${subaccountId}`,
      headers: [json, ...signatures.map((one) => ["X-Retell-Signature", one] as const)],
      body,
    });

  it("counts once, however often it is repeated", async () => {
    const good = await sign(event, world.apiKey);
    expect((await deliver(event, good, good)).status).toBe(200);
    expect((await deliver(event, `${good}, ${good}`, good)).status).toBe(200);
  });

  it("is refused beside another one, whichever is right", async () => {
    const [good, other] = [await sign(event, world.apiKey), await sign(event, "another key")];
    for (const both of [
      [good, other],
      [other, good],
    ]) {
      expect((await deliver(event, ...both)).body.code).toBe("INVALID_SIGNATURE");
    }
  });
});

describe("a byte order mark", () => {
  it.each<[string, string]>([
    ["as text", "application/json"],
    ["in base64", "application/vnd.api+json"],
  ])("before a request's body is taken off: %s", async (_how, type) => {
    const { status, body } = await post("create", `${bom}${JSON.stringify({ agentId })}`, [["content-type", type]]);
    expect([status, body.errors]).toEqual([200, undefined]);
  });

  it.each([bom, `${bom}${bom}{}`, `${bom}{`])("does not make JSON of %j", async (text) => {
    const { status, body } = await post("create", text, [json]);
    expect([status, body.errors]).toEqual([400, [{ field: "body", in: "body", message: "Must be a JSON object" }]]);
  });

  it("before a webhook's body is signed with it, and taken off for reading", async () => {
    const chatId = await aChat(world);
    const chat = { chat_id: chatId, agent_id: agentId, chat_status: "ended", end_timestamp: Date.now() };
    const body = `${bom}${JSON.stringify({ event: "chat_ended", chat })}`;
    for (const type of ["application/json", "application/octet-stream"]) {
      const headers = { "x-retell-signature": await sign(body, world.apiKey), "content-type": type };
      const { status, body: answer } = await call("webhook", { subaccountId, body, headers });
      expect([status, linesOf(answer.meta.operationId).at(-1)?.event]).toEqual([200, "chat_ended"]);
    }
    expect(await world.db.collection("chats").findOne({ chat_id: chatId })).toMatchObject({ chat_status: "ended" });
    const refused = await call("webhook", {
      subaccountId,
      body,
      headers: { "x-retell-signature": await sign(body.slice(1), world.apiKey) },
    });
    expect(refused.body.code).toBe("INVALID_SIGNATURE");
  });
});

describe("an empty query parameter", () => {
  it("is an absent one", async () => {
    const chatId = await aChat(world);
    for (const [name, query] of [
      ["list", { limit: "", cursor: "" }],
      ["transcript", { limit: "", after_seq: "", include: "", consistency: "" }],
    ] satisfies [Name, Record<string, string>][]) {
      const ask = (given: Record<string, string>) =>
        call(name, { token: owner.token, subaccountId, chatId, query: given });
      const [empty, absent] = [await ask(query), await ask({})];
      expect([empty.status, empty.body.data]).toEqual([200, absent.body.data]);
    }
  });

  it("is an absent one also where it is repeated, as API Gateway joins it", async () => {
    await aChat(world);
    const list = async (query: string) => {
      const target = `/api/chats/${subaccountId}/list?${query}`;
      const { status, body } = await raw({
        method: "GET",
        target,
        headers: { authorization: `Bearer ${owner.token}` },
      });
      return [status, body.meta.count];
    };
    for (const query of ["limit=&limit=1", "limit=1&limit=", "limit=1&limit=&cursor=&cursor="]) {
      expect([query, await list(query)]).toEqual([query, [200, 1]]);
    }
    expect(await list("limit=1&limit=2")).toEqual([400, undefined]);
  });
});
