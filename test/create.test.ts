import { describe, expect, it } from "vitest";
import { aChat, aWorld, call, control, fault, type Response, type World } from "./support/world.ts";

const unknown = { outcome: "unknown", settles_by: expect.any(String) };

const world = await aWorld();

function create(body: unknown, more: object = {}, where: World = world): Promise<Response> {
  return call("create", { token: where.owner.token, subaccountId: where.subaccountId, body, ...more });
}

/** What Retell was asked, the last time. */
async function asked(chatId: string) {
  const { requests } = await control("retell", "GET", `/requests?chat_id=${chatId}&step=create`);
  return requests.at(-1).body;
}

const openAtRetell = async (apiKey: string) =>
  (await control("retell", "GET", `/chats?key=${apiKey}`)).chats.filter(
    (chat: { status: string }) => chat.status === "ongoing",
  );

describe("create", () => {
  it("starts a chat and answers with the agent's opening message", async () => {
    const { status, body } = await create({ agentId: world.agentId, metadata: { crm_id: "C-1" } });
    expect(status).toBe(200);
    expect(body.data).toMatchObject({
      agent_id: world.agentId,
      chat_status: "ongoing",
      retellAccount: { accountName: "Test Retell" },
    });
    expect(body.data.messages).toMatchObject([{ role: "agent", seq: 1 }]);

    const stored = await world.db.collection("chats").findOne({ chat_id: body.data.chat_id });
    expect(stored).toMatchObject({
      subaccountId: world.subaccountId,
      createdBy: world.owner.id,
      operationId: body.meta.operationId,
      metadata: { crm_id: "C-1" },
      message_count: 1,
      end_timestamp: null,
      internal: { revision: 1, retellUserCount: 0, tags: ["crm_id=C-1"] },
    });
    expect(stored?.internal.nextSweepAt).toBeInstanceOf(Date);
  });

  it("lets no caller override agent_id and subaccount_id", async () => {
    const variables = {
      agent_id: "agent_evil",
      subaccount_id: "someone-else",
      chat_id: "chat_evil",
      customer_name: "Ana",
    };
    const { body } = await create({ agentId: world.agentId, retell_llm_dynamic_variables: variables });
    const sent = (await asked(body.data.chat_id)).retell_llm_dynamic_variables;
    expect(sent).toEqual({
      agent_id: world.agentId,
      subaccount_id: world.subaccountId,
      customer_name: "Ana",
      phone_number: "",
    });
    expect(body.data.retell_llm_dynamic_variables.chat_id).toBe(body.data.chat_id);
  });

  it("turns numbers and booleans among the variables into strings", async () => {
    const { body } = await create({ agentId: world.agentId, retell_llm_dynamic_variables: { age: 7, vip: true } });
    expect((await asked(body.data.chat_id)).retell_llm_dynamic_variables).toMatchObject({ age: "7", vip: "true" });
  });

  it.each([
    ["12345678901234567890", "12345678901234567890"],
    ["-17841400008460057", "-17841400008460057"],
    ["9007199254740993", "9007199254740993"],
    ["1000000000000000000000", "1000000000000000000000"],
    ["0.0000001", "0.0000001"],
    ["0.1234567890123456789", "0.1234567890123456789"],
    ["12345678.123456789", "12345678.123456789"],
    ["1234567890123456789e-9", "1234567890123456789e-9"],
    ["1e-400", "1e-400"],
    // No digit is lost.
    ["9007199254740992", "9007199254740992"],
    ["1.10", "1.1"],
    ["1.1000000000000000000000", "1.1"],
    ["-0", "0"],
    ["1E2", "100"],
    ["1e21", "1e+21"],
    ["10e-8", "1e-7"],
  ])("gives the agent the digits that were sent: %s", async (sent, expected) => {
    const { body } = await create(`{"agentId": "${world.agentId}", "retell_llm_dynamic_variables": {"v": ${sent}}}`);
    expect(body.data.retell_llm_dynamic_variables.v).toBe(expected);
    expect((await asked(body.data.chat_id)).retell_llm_dynamic_variables.v).toBe(expected);
  });

  it("takes bodies that differ in the last digit of a variable for two: 422 under one key", async () => {
    const keyed = (id: string) =>
      call("create", {
        token: world.owner.token,
        subaccountId: world.subaccountId,
        body: `{"agentId": "${world.agentId}", "retell_llm_dynamic_variables": {"ig_id": ${id}}}`,
        headers: { "idempotency-key": "one-key" },
      });
    const first = await keyed("17841400008460057");
    expect(first.status).toBe(200);
    const other = await keyed("17841400008460056");
    expect([other.status, other.body.code]).toEqual([422, "IDEMPOTENCY_KEY_REUSED"]);
    for (const same of ["17841400008460057", '"17841400008460057"']) {
      expect((await keyed(same)).body.data.chat_id).toBe(first.body.data.chat_id);
    }
  });

  it("sends our ids in the metadata under a reserved key, and never shows it", async () => {
    const spoof = { _scalai_chat: { subaccountId: "someone-else" }, mine: 1 };
    const { body } = await create({ agentId: world.agentId, metadata: spoof });
    const { metadata } = await asked(body.data.chat_id);
    expect(metadata).toEqual({
      mine: 1,
      _scalai_chat: { operationId: body.meta.operationId, subaccountId: world.subaccountId, stage: "test" },
    });

    const transcript = await call("transcript", {
      token: world.owner.token,
      subaccountId: world.subaccountId,
      chatId: body.data.chat_id,
    });
    expect(transcript.body.data.metadata).toEqual({ mine: 1 });
  });

  it.each([0, 3, "prod"])("accepts agent_version %j", async (agent_version) => {
    const { status, body } = await create({ agentId: world.agentId, agent_version });
    expect(status).toBe(200);
    expect((await asked(body.data.chat_id)).agent_version).toBe(agent_version);
  });

  it("refuses an agent that the subaccount does not own: 404 AGENT_NOT_FOUND, and asks nothing of Retell", async () => {
    const before = await openAtRetell(world.apiKey);
    const { status, body } = await create({ agentId: "agent_of_another_tenant" });
    expect([status, body.code]).toEqual([404, "AGENT_NOT_FOUND"]);
    expect(await openAtRetell(world.apiKey)).toHaveLength(before.length);
  });

  it("refuses a subaccount without a Retell account, or with an inactive one: 400", async () => {
    for (const account of [null, { isActive: false }]) {
      const { status, body } = await create({ agentId: "agent_shop" }, {}, await aWorld({ account }));
      expect([status, body.code]).toEqual([400, "RETELL_ACCOUNT_INACTIVE"]);
    }
  });

  it("says so when the account's key does not decrypt: 500 API_KEY_DECRYPTION_ERROR", async () => {
    const { status, body } = await create(
      { agentId: "agent_shop" },
      {},
      await aWorld({ account: { apiKey: "v2.x.y.z.w" } }),
    );
    expect([status, body.code]).toEqual([500, "API_KEY_DECRYPTION_ERROR"]);
  });

  it("opens no key that was copied from another subaccount's document", async () => {
    const { ObjectId } = await import("mongodb");
    const { central } = await import("./support/world.ts");
    const stolen = await central
      .collection("retellaccounts")
      .findOne({ subaccountId: new ObjectId(world.subaccountId) });
    const thief = await aWorld({ account: { apiKey: stolen?.apiKey } });
    const { body } = await create({ agentId: "agent_shop" }, {}, thief);
    expect(body.code).toBe("API_KEY_DECRYPTION_ERROR");
  });

  it("says so when the account cannot be read: 503 RETELL_FETCH_FAILED", async () => {
    const { status, body } = await create({ agentId: "agent_shop" }, {}, await aWorld({ account: { webhookKeys: 7 } }));
    expect([status, body.code]).toEqual([503, "RETELL_FETCH_FAILED"]);
  });

  it.each([401, 402, 403, 422, 429, 500, 503])(
    "answers 503 when Retell answers %i, and never the caller's 401",
    async (status) => {
      const tenant = await aWorld();
      await fault(tenant, "create", { kind: "status", status, retryAfter: 7 });
      const answer = await create({ agentId: tenant.agentId }, {}, tenant);
      // A proxy's 503 says nothing of what is behind it: that one may have been done.
      const expected = status === 503 ? [504, "TIMEOUT"] : [503, "CHAT_CREATION_FAILED"];
      expect([answer.status, answer.body.code]).toEqual(expected);
      expect(answer.headers["retry-after"]).toBe({ 429: "7", 500: "5", 503: "5" }[status]);
    },
  );

  it.each(["drop", "half", "garbage"])(
    "does not know the outcome when Retell's answer is lost (%s): 504",
    async (kind) => {
      const tenant = await aWorld();
      await fault(tenant, "create", { kind, effect: "before" });
      const { status, body } = await create({ agentId: tenant.agentId }, {}, tenant);
      expect([status, body.code, body.details]).toEqual([504, "TIMEOUT", unknown]);
    },
  );

  it("gives up on a silent Retell before its own time is over, and asks it once", async () => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind: "hang" });
    const { status, body } = await create({ agentId: tenant.agentId }, { remainingMs: 5_300 }, tenant);
    expect([status, body.code, body.details]).toEqual([504, "TIMEOUT", unknown]);
    expect((await control("retell", "GET", `/requests?step=create&key=${tenant.apiKey}`)).requests).toHaveLength(1);
  });

  it("leaves no open chat at Retell when it cannot be stored", async () => {
    const tenant = await aWorld();
    await tenant.db.command({ collMod: "chats", validator: { never: { $exists: true } } });
    const { status, body } = await create({ agentId: tenant.agentId }, {}, tenant);
    expect([status, body.code]).toEqual([500, "INTERNAL_ERROR"]);
    const { chats } = await control("retell", "GET", `/chats?key=${tenant.apiKey}`);
    expect(chats).toMatchObject([{ status: "ended" }]);
  });

  it("drops the cached account when Retell refuses its key", async () => {
    const tenant = await aWorld();
    await aChat(tenant);
    await control("retell", "PATCH", "/settings", { invalidKeys: { [tenant.apiKey]: 401 } });
    const { ObjectId } = await import("mongodb");
    const { central } = await import("./support/world.ts");
    const account = { subaccountId: new ObjectId(tenant.subaccountId) };
    await central.collection("retellaccounts").updateOne(account, { $set: { isActive: false } });
    for (let i = 0; i < 2; i++) {
      const { body } = await create({ agentId: tenant.agentId }, {}, tenant);
      expect(body.code).toBe("RETELL_ACCOUNT_INACTIVE");
    }
    // The chat, and the refused one: the second refusal came from Mongo.
    const { requests } = await control("retell", "GET", `/requests?step=create&key=${tenant.apiKey}`);
    expect(requests).toHaveLength(2);
  });

  it("reads a changed key again, once, when Retell refuses the one that is cached", async () => {
    const tenant = await aWorld();
    await aChat(tenant);
    const { encrypt } = await import("../lib/platform/crypto.ts");
    const { ObjectId } = await import("mongodb");
    const { central } = await import("./support/world.ts");
    await control("retell", "PATCH", "/settings", { invalidKeys: { [tenant.apiKey]: 401 } });
    await central
      .collection("retellaccounts")
      .updateOne(
        { subaccountId: new ObjectId(tenant.subaccountId) },
        { $set: { apiKey: await encrypt(`${tenant.apiKey}_new`, tenant.subaccountId) } },
      );
    expect((await create({ agentId: tenant.agentId }, {}, tenant)).status).toBe(200);
  });
});

describe("create validates", () => {
  const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) });
  const filler = (bytes: number) => ({ a: "x".repeat(bytes - '{"a":""}'.length) });

  it.each([
    ["no body", undefined, "body"],
    ["an array", [], "body"],
    ["null", null, "body"],
    ["broken JSON", "{", "body"],
    ["no agentId", {}, "agentId"],
    ["an empty agentId", { agentId: "" }, "agentId"],
    ["an agentId that is an operator", { agentId: { $gt: "" } }, "agentId"],
    ["an agentId of 129", { agentId: "a".repeat(129) }, "agentId"],
    ["a negative version", { agentId: "a", agent_version: -1 }, "agent_version"],
    ["a broken version", { agentId: "a", agent_version: 1.5 }, "agent_version"],
    ["a tag in capitals", { agentId: "a", agent_version: "PROD" }, "agent_version"],
    ["metadata that is a list", { agentId: "a", metadata: [] }, "metadata"],
    ["metadata with an operator", { agentId: "a", metadata: { $where: "1" } }, "metadata.$where"],
    ["metadata with a dotted key", { agentId: "a", metadata: { "a.b": 1 } }, "metadata.a.b"],
    ["metadata with a NUL key, deep", { agentId: "a", metadata: { a: [{ "\0": 1 }] } }, "metadata.a.0.?"],
    ["metadata of 21 levels", { agentId: "a", metadata: deep(21) }, "metadata"],
    ["metadata of 50,177 bytes", { agentId: "a", metadata: filler(50_177) }, "metadata"],
    ["metadata with half a surrogate pair", { agentId: "a", metadata: { a: "\ud800" } }, "metadata.a"],
    [
      "a variable that is an object",
      { agentId: "a", retell_llm_dynamic_variables: { a: {} } },
      "retell_llm_dynamic_variables.a",
    ],
    [
      "101 variables",
      {
        agentId: "a",
        retell_llm_dynamic_variables: Object.fromEntries([...Array(101).keys()].map((i) => [`k${i}`, "v"])),
      },
      "retell_llm_dynamic_variables",
    ],
    ["_bsontype in metadata", { agentId: "a", metadata: { a: { _bsontype: "Id" } } }, "metadata.a._bsontype"],
    [
      "_bsontype among the variables",
      { agentId: "a", retell_llm_dynamic_variables: { _bsontype: "Long" } },
      "retell_llm_dynamic_variables._bsontype",
    ],
    ["__proto__", '{"agentId":"a","metadata":{"__proto__":{"a":1}}}', "metadata.__proto__"],
    ["10,000 levels", `{"agentId":"a","metadata":${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}}`, "body"],
  ])("%s: 400", async (_name, body, field) => {
    const { status, body: answer } = await create(body);
    expect([status, answer.code]).toEqual([400, "VALIDATION_ERROR"]);
    expect(answer.errors.map((error: { field: string }) => error.field)).toContain(field);
  });

  it("says everything that is wrong at once", async () => {
    const { body } = await create({ agentId: "", agent_version: -1, metadata: [] }, { subaccountId: "nope" });
    expect(body.errors.map((error: { field: string }) => error.field)).toEqual([
      "subaccountId",
      "agentId",
      "agent_version",
      "metadata",
    ]);
  });

  it.each(["text/plain", "application/x-www-form-urlencoded", ""])("refuses a body of type %j: 400", async (type) => {
    const { status, body } = await create({ agentId: world.agentId }, { headers: { "content-type": type } });
    expect([status, body.errors[0].field]).toEqual([400, "content-type"]);
  });

  it("accepts metadata of 50,176 bytes and 20 levels", async () => {
    expect((await create({ agentId: world.agentId, metadata: filler(50_176) })).status).toBe(200);
    expect((await create({ agentId: world.agentId, metadata: deep(20) })).status).toBe(200);
  });

  it("refuses a body over 262,144 bytes: 413", async () => {
    const { status, body } = await create({ agentId: world.agentId, filler: "x".repeat(262_144) });
    expect([status, body.code]).toEqual([413, "PAYLOAD_TOO_LARGE"]);
  });

  it("takes a subaccountId in capitals for the same", async () => {
    const upper = world.subaccountId.toUpperCase();
    const { status, body } = await create({ agentId: world.agentId }, { subaccountId: upper });
    expect(status).toBe(200);
    expect((await world.db.collection("chats").findOne({ chat_id: body.data.chat_id }))?.subaccountId).toBe(
      world.subaccountId,
    );
  });

  it.each(["", "x".repeat(256), "a b", "ä"])("refuses the Idempotency-Key %j: 400", async (key) => {
    const { status, body } = await create({ agentId: world.agentId }, { headers: { "idempotency-key": key } });
    expect([status, body.errors[0].field]).toEqual([400, "idempotency-key"]);
  });
});
