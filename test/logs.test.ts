import { sign } from "retell-sdk/lib/webhook_auth";
import { describe, expect, it } from "vitest";
import { driver } from "../lib/platform/mongo.ts";
import { linesOf, logged } from "./support/instance.ts";
import { aChat, aMembership, aToken, aUser, aWorld, call, fault } from "./support/world.ts";

const world = await aWorld();
// The first request would load them while it waits for Redis; on a busy machine for longer than it may.
await Promise.all([driver(), import("../functions/create.ts")]);

describe("a request's log", () => {
  it("is one line, with everything that a search at night needs", async () => {
    const { body } = await call("create", {
      token: world.owner.token,
      subaccountId: world.subaccountId,
      body: { agentId: world.agentId },
    });
    const lines = linesOf(body.meta.operationId);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      level: "INFO",
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      operation: "create",
      route: "POST /api/chats/{subaccountId}/create",
      status: 200,
      duration: expect.any(Number),
      admit: expect.any(Number),
      mongo: expect.any(Number),
      retell: expect.any(Number),
      userId: world.owner.id,
      subaccountId: world.subaccountId,
      agentId: world.agentId,
      chatId: body.data.chat_id,
      retellAccountId: expect.stringMatching(/^[0-9a-f]{24}$/),
      coldStart: true,
    });
  });

  it("says whether the cache helped", async () => {
    for (const expected of ["miss", "hit"]) {
      const { body } = await call("list", { token: world.owner.token, subaccountId: world.subaccountId });
      expect(linesOf(body.meta.operationId)).toMatchObject([{ cache: expected, coldStart: false }]);
    }
  });

  it("names chat, agent and Retell account wherever they are known, and how a message's turn came out", async () => {
    const where = { token: world.owner.token, subaccountId: world.subaccountId };
    const chatId = await aChat(world);
    const known = { chatId, agentId: world.agentId, retellAccountId: expect.any(String) };
    const headers = { "idempotency-key": crypto.randomUUID() };
    const say = () => call("message", { ...where, chatId, body: { content: "ping" }, headers });
    const turnId = expect.stringMatching(/^[0-9a-f-]{36}$/);
    expect(linesOf((await say()).body.meta.operationId)).toMatchObject([{ ...known, turn: "delivered", turnId }]);
    expect(linesOf((await say()).body.meta.operationId)).toMatchObject([{ ...known, turn: "replayed" }]);
    for (const name of ["transcript", "end"] as const) {
      expect(linesOf((await call(name, { ...where, chatId })).body.meta.operationId)).toMatchObject([known]);
    }
    const tenant = await aWorld(); // after a 429 the circuit of its account is open for a moment
    const limited = { token: tenant.owner.token, subaccountId: tenant.subaccountId, chatId: await aChat(tenant) };
    await fault(tenant, "completion", { kind: "status", status: 429 });
    const refused = await call("message", { ...limited, body: { content: "ping" } });
    expect(linesOf(refused.body.meta.operationId)).toMatchObject([{ level: "ERROR", turn: "failed", turnId }]);
  });

  it("takes the caller's X-Operation-Id if that is a UUID, and answers with it", async () => {
    const mine = crypto.randomUUID();
    const ask = (id: string) => call("health", { headers: { "x-operation-id": id } });
    const { body, headers } = await ask(mine.toUpperCase());
    expect([body.meta.operationId, headers["x-operation-id"]]).toEqual([mine, mine]);
    for (const bad of ["", "nope", `${mine}\r\nx-evil: 1`, `${mine}x`, "../../etc"]) {
      expect((await ask(bad)).body.meta.operationId).toMatch(/^[0-9a-f-]{36}$/);
      expect((await ask(bad)).body.meta.operationId).not.toBe(bad);
    }
  });

  it("names what the caller chose once the caller is known, and only what has the form of an id", async () => {
    const ask = async (agentId: string, token: string) =>
      linesOf(
        (await call("create", { token, subaccountId: world.subaccountId, body: { agentId } })).body.meta.operationId,
      ).map((line) => line.agentId);
    const [agent, forged] = ["agent_of_nobody", 'x\u001b[2K\n{"level":"INFO"}'];
    expect(await ask(agent, world.owner.token)).toEqual([agent]);
    expect(await ask(forged, world.owner.token)).toEqual([undefined]);
    expect(await ask("what I wanted to say", world.owner.token)).toEqual([undefined]);
    expect(await ask(agent, world.stranger.token)).toEqual([undefined]);
    expect(await ask(agent, world.viewer.token)).toEqual([undefined]);
    const token = await aToken({ id: "x\n\u202ey" });
    const { body } = await call("list", { token, subaccountId: world.subaccountId });
    expect(linesOf(body.meta.operationId)[0]).not.toHaveProperty("userId");
  });

  it("names the subaccount of what is refused, however early", async () => {
    const { subaccountId, owner, apiKey } = world;
    const late = await sign("{}", apiKey).then((header) => header.replace(/^v=\d+/, `v=${Date.now() - 600_000}`));
    const refusals = [
      await call("list", { subaccountId }),
      await call("create", { subaccountId, token: owner.token, body: { agentId: 7 } }),
      await call("transcript", { subaccountId, token: owner.token, chatId: "no chat's id" }),
      await call("webhook", { subaccountId, body: "{}", headers: { "x-retell-signature": "none" } }),
      await call("webhook", { subaccountId, body: "{}", headers: { "x-retell-signature": late } }),
    ];
    const codes = ["ACCESS_TOKEN_REQUIRED", "VALIDATION_ERROR", "VALIDATION_ERROR"];
    expect(refusals.map(({ body }) => body.code)).toEqual([...codes, "INVALID_SIGNATURE", "INVALID_SIGNATURE"]);
    for (const { body } of refusals) expect(linesOf(body.meta.operationId)).toMatchObject([{ subaccountId }]);
    const strange = await call("list", { subaccountId: "not-an-id" });
    expect(linesOf(strange.body.meta.operationId)[0]).not.toHaveProperty("subaccountId");
  });

  it("is an ERROR with a stack when we fail, an INFO when the caller does", async () => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind: "status", status: 500 });
    const request = { token: tenant.owner.token, subaccountId: tenant.subaccountId, body: { agentId: tenant.agentId } };
    const ours = await call("create", request);
    expect(linesOf(ours.body.meta.operationId)).toMatchObject([
      { level: "ERROR", code: "CHAT_CREATION_FAILED", reason: { stack: expect.any(Array) } },
    ]);
    expect(JSON.stringify(linesOf(ours.body.meta.operationId))).toContain('"status":500');
    const theirs = await call("create", { ...request, body: {} });
    expect(linesOf(theirs.body.meta.operationId)).toMatchObject([
      { level: "INFO", code: "VALIDATION_ERROR", status: 400 },
    ]);
  });

  it("says flatly why Retell did not do as it was asked, whatever stands around that", async () => {
    for (const [kind, told] of [
      [
        { kind: "status", status: 500 },
        { retellStatus: 500, retellError: "InternalServerError" },
      ],
      [
        { kind: "status", status: 502 },
        { retellStatus: 502, retellError: "InternalServerError" },
      ],
      [
        { kind: "status", status: 401 },
        { retellStatus: 401, retellError: "AuthenticationError" },
      ],
      [{ kind: "late", ms: 8_000 }, { retellError: "APIUserAbortError" }],
      [{ kind: "garbage", as: "shape" }, { retellError: "ZodError" }],
      [{ kind: "drop" }, { retellError: "ECONNRESET" }],
    ] as const) {
      const tenant = await aWorld();
      const where = { token: tenant.owner.token, subaccountId: tenant.subaccountId };
      const chatId = await aChat(tenant);
      await fault(tenant, "completion", kind);
      await fault(tenant, "retrieve", { kind: "status", status: 503 }); // otherwise the history tells the outcome
      const { body } = await call("message", { ...where, chatId, body: { content: "ping" }, remainingMs: 5_300 });
      const line = linesOf(body.meta.operationId).find(({ message }) => message === "Request failed");
      const { retellStatus, retellError } = line ?? {};
      expect([kind, { retellStatus, retellError }]).toEqual([kind, told]);
    }
  });

  // Ten, as so many may pass without Redis: a busy machine's may take longer than the API waits for it.
  it("never mixes the users of requests that run side by side", async () => {
    const { subaccountId, ...tenant } = await aWorld();
    const users = await Promise.all(
      [...Array(10)].map(async () => {
        const user = await aUser();
        await aMembership(subaccountId, user.id, ["read", "write"]);
        return user;
      }),
    );
    const chatIds = await Promise.all(users.map(() => aChat({ subaccountId, ...tenant })));
    const answers = await Promise.all(
      users.map(({ token }, i) =>
        call("message", { token, subaccountId, chatId: chatIds[i] ?? "", body: { content: `ping ${i}` } }),
      ),
    );
    for (const [i, { status, body }] of answers.entries()) {
      expect(status).toBe(200);
      expect(body.data.messages[0].content).toContain(`ping ${i}`);
      const lines = linesOf(body.meta.operationId);
      expect(lines.map(({ userId }) => userId)).toEqual(lines.map(() => users[i]?.id));
      expect(lines.at(-1)).toMatchObject({ message: "Request", chatId: chatIds[i] });
    }
  });

  it("holds no token, key, message text, dynamic variable or metadata, whatever goes wrong", async () => {
    const tenant = await aWorld();
    const canaries = { text: "canary-text", variable: "canary-variable", metadata: "canary-metadata" };
    const where = { token: tenant.owner.token, subaccountId: tenant.subaccountId };
    const create = (more: object = {}) =>
      call("create", {
        ...where,
        body: {
          agentId: tenant.agentId,
          retell_llm_dynamic_variables: { v: canaries.variable },
          metadata: { m: canaries.metadata },
          ...more,
        },
      });
    const send = (chatId: string, more: object = {}) =>
      call("message", { ...where, chatId, body: { content: canaries.text }, remainingMs: 5_200, ...more });

    for (const kind of [
      { kind: "status", status: 400, message: canaries.text },
      { kind: "status", status: 401, message: canaries.text },
      { kind: "garbage" },
      { kind: "garbage", as: "shape" },
      { kind: "half" },
      { kind: "drop" },
    ]) {
      await fault(tenant, "create", kind);
      await create();
      const { body } = await create();
      await fault(tenant, "completion", kind);
      await send(body.data.chat_id);
      await call("transcript", { ...where, chatId: body.data.chat_id });
    }
    await create({ agentId: { $gt: canaries.text } });
    await create({ metadata: { $bad: canaries.metadata } });
    await send("chat_x", { body: `{"content":"${canaries.text}` });
    await send("chat_x", { body: { content: { $gt: canaries.text } } });
    await send("chat_x", { token: `${tenant.owner.token}x` });
    const validator = { metadata: { m: { $exists: false } } };
    await tenant.db.command({ collMod: "chats", validator });
    await create();

    const all = logged.join("\n");
    for (const secret of [
      ...Object.values(canaries),
      tenant.apiKey,
      tenant.owner.token,
      process.env.JWT_SECRET ?? "-",
    ]) {
      expect(all).not.toContain(secret);
    }
    expect(logged.length).toBeGreaterThan(20);
  });
});
