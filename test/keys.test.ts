import "./support/own-retell.ts";
import { describe, expect, it } from "vitest";
import { atRetell } from "./support/chats.ts";
import { aChat, aMembership, aUser, aWorld, call, control, fault, type Response, type World } from "./support/world.ts";

const unknown = { outcome: "unknown", settles_by: expect.any(String) };

const world = await aWorld();

const send = (chatId: string, key: string, content = "ping", more: object = {}, where: World = world) =>
  call("message", {
    token: where.owner.token,
    subaccountId: where.subaccountId,
    chatId,
    body: { content },
    headers: { "idempotency-key": key },
    ...more,
  });

const userEntries = async (chatId: string): Promise<string[]> =>
  (await control("retell", "GET", `/chats/${chatId}`)).entries
    .filter((entry: { role: string }) => entry.role === "user")
    .map((entry: { content: string }) => entry.content);

describe("a message with an Idempotency-Key", () => {
  it("is sent once; a repeat gives the same data, and says that it is a replay", async () => {
    const chatId = await aChat(world);
    const first = await send(chatId, "k1");
    const second = await send(chatId, "k1");
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(second.body.data).toEqual(first.body.data);
    expect(second.body.meta.operationId).not.toBe(first.body.meta.operationId);
    expect([first.headers["idempotent-replayed"], second.headers["idempotent-replayed"]]).toEqual([undefined, "true"]);
    expect(await userEntries(chatId)).toEqual(["ping"]);
  });

  it("replays what was told, whatever has happened since", async () => {
    const chatId = await aChat(world);
    const first = await send(chatId, "k1", "Where is my order?");
    await send(chatId, "k2", "and then?");
    await call("end", { token: world.owner.token, subaccountId: world.subaccountId, chatId });
    expect((await send(chatId, "k1", "Where is my order?")).body.data).toEqual(first.body.data);
  });

  it("replays the agent's goodbye as one", async () => {
    const chatId = await aChat(world);
    const first = await send(chatId, "k1", "goodbye");
    expect(first.body.data.chat_status).toBe("ended");
    expect((await send(chatId, "k1", "goodbye")).body.data).toEqual(first.body.data);
  });

  it("twice at the same instant is sent once; the other is told to come back, and then gets the answer", async () => {
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "latency", ms: 200, chat_id: chatId });
    const answers = await Promise.all([send(chatId, "k1"), send(chatId, "k1")]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    const told = answers.find(({ status }) => status === 409);
    expect(told?.body).toMatchObject({ code: "REQUEST_IN_PROGRESS", retryAfter: 2 });
    const sent = answers.find(({ status }) => status === 200)?.body.data.user_message;
    expect(told?.body.details).toEqual({ user_message: sent });
    const again = await send(chatId, "k1");
    expect(again.body.data).toEqual(answers.find(({ status }) => status === 200)?.body.data);
    expect(await userEntries(chatId)).toHaveLength(1);
  });

  it("is refused with another body: 422 IDEMPOTENCY_KEY_REUSED", async () => {
    const chatId = await aChat(world);
    await send(chatId, "k1");
    const { status, body } = await send(chatId, "k1", "pong");
    expect([status, body.code]).toEqual([422, "IDEMPOTENCY_KEY_REUSED"]);
    expect(await userEntries(chatId)).toEqual(["ping"]);
  });

  it("is another send in another chat, or from another user", async () => {
    const [one, two] = [await aChat(world), await aChat(world)];
    const other = await aUser();
    await aMembership(world.subaccountId, other.id, ["write"]);
    await send(one, "k1");
    expect((await send(two, "k1")).headers["idempotent-replayed"]).toBeUndefined();
    expect((await send(one, "k1", "ping", { token: other.token })).headers["idempotent-replayed"]).toBeUndefined();
    expect(await userEntries(one)).toEqual(["ping", "ping"]);
  });

  it("is a new attempt once the first has failed for sure", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "completion", { kind: "status", status: 403 });
    expect((await send(chatId, "k1", "ping", {}, tenant)).status).toBe(503);
    const again = await send(chatId, "k1", "ping", {}, tenant);
    expect([again.status, again.headers["idempotent-replayed"]]).toEqual([200, undefined]);
    expect(await userEntries(chatId)).toEqual(["ping"]);
    const third = await send(chatId, "k1", "ping", {}, tenant);
    expect(third.headers["idempotent-replayed"]).toBe("true");
    expect(third.body.data).toEqual(again.body.data);
  });

  it("is one message in the transcript, however often it failed, with the outcome of the last", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    const where = { token: tenant.owner.token, subaccountId: tenant.subaccountId, chatId };
    const shown = async () => {
      const { body } = await call("transcript", where);
      return body.data.messages.slice(1).map((m: Record<string, unknown>) => [m.seq, m.role, m.delivery]);
    };
    await fault(tenant, "completion", { kind: "status", status: 403, count: 2 });
    await send(chatId, "k1", "ping", {}, tenant);
    await send(chatId, "k1", "ping", {}, tenant);
    expect(await shown()).toEqual([[3, "user", "failed"]]);
    await send(chatId, "k1", "ping", {}, tenant);
    expect(await shown()).toEqual([
      [4, "user", undefined],
      [5, "agent", undefined],
    ]);
  });

  it("finds what was given up and has arrived after all: once it is seen, it is not sent again", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    const where = { token: tenant.owner.token, subaccountId: tenant.subaccountId, chatId };
    await fault(tenant, "completion", { kind: "drop" });
    expect((await send(chatId, "k1", "ping", {}, tenant)).status).toBe(504);
    const longAgo = { "internal.turn.at": new Date(Date.now() - 400_000) };
    await tenant.db.collection("chats").updateOne({ chat_id: chatId }, { $set: longAgo });
    const givenUp = await call("transcript", { ...where, query: { consistency: "strong" } });
    expect(givenUp.body.data.messages.at(-1)).toMatchObject({ content: "ping", delivery: "failed" });
    await control("retell", "PATCH", `/chats/${chatId}`, {
      add: [
        { role: "user", content: "ping" },
        { role: "agent", content: "late" },
      ],
    });
    const { body } = await call("transcript", { ...where, query: { consistency: "strong" } });
    expect(body.data.messages.slice(1).map((m: Record<string, unknown>) => [m.content, m.delivery])).toEqual([
      ["ping", undefined],
      ["late", undefined],
    ]);
    const again = await send(chatId, "k1", "ping", {}, tenant);
    expect([again.status, again.headers["idempotent-replayed"]]).toEqual([200, "true"]);
    expect(again.body.data).toMatchObject({ messages: [{ content: "late" }], user_message: { seq: 3 } });
    expect(await userEntries(chatId)).toEqual(["ping"]);
  });

  it("whose outcome is unknown is asked after, never sent again, and answered once it is known", async () => {
    const tenant = await aWorld();
    const chatId = await aChat(tenant);
    await fault(tenant, "completion", { kind: "late", ms: 60_000 });
    expect((await send(chatId, "k1", "ping", { remainingMs: 5_300 }, tenant)).status).toBe(504);
    const waiting = await send(chatId, "k1", "ping", {}, tenant);
    expect([waiting.status, waiting.body.code, Number(waiting.headers["retry-after"]) > 0]).toEqual([
      409,
      "REQUEST_IN_PROGRESS",
      true,
    ]);

    await control("retell", "POST", "/clock", { advanceMs: 60_000 });
    const answered = await send(chatId, "k1", "ping", {}, tenant);
    expect([answered.status, answered.headers["idempotent-replayed"]]).toEqual([200, "true"]);
    expect(answered.body.data.messages).toHaveLength(1);
    expect(await userEntries(chatId)).toEqual(["ping"]);
  });

  it("keeps the key itself nowhere, and shows nothing of it", async () => {
    const chatId = await aChat(world);
    await send(chatId, "a-very-private-key");
    const chat = await world.db.collection("chats").findOne({ chat_id: chatId });
    expect(JSON.stringify(chat)).not.toContain("a-very-private-key");
    const { body } = await call("transcript", { token: world.owner.token, subaccountId: world.subaccountId, chatId });
    expect(JSON.stringify(body)).not.toContain(chat?.messages[1].internal.key);
  });
});

/** @param body Text is sent as it is. */
const create = (key: string, body: object | string = {}, where: World = world, more: object = {}) =>
  call("create", {
    token: where.owner.token,
    subaccountId: where.subaccountId,
    body: typeof body === "string" ? body : { agentId: where.agentId, ...body },
    headers: { "idempotency-key": key },
    ...more,
  });

const request = (where: World) => where.db.collection("chatrequests").findOne();
/** As if so much time had passed since the attempt began. */
const age = (where: World, ms: number) =>
  where.db.collection("chatrequests").updateOne({}, { $set: { at: new Date(Date.now() - ms) } });

describe("a create with an Idempotency-Key", () => {
  it("is done once; a repeat gives the same data, and says that it is a replay", async () => {
    const tenant = await aWorld();
    const first = await create("k1", { metadata: { a: 1 } }, tenant);
    await call("message", {
      token: tenant.owner.token,
      subaccountId: tenant.subaccountId,
      chatId: first.body.data.chat_id,
      body: { content: "ping" },
    });
    const second = await create("k1", { metadata: { a: 1 } }, tenant);
    expect(second.body.data).toEqual(first.body.data);
    expect(second.headers["idempotent-replayed"]).toBe("true");
    expect(await atRetell(tenant)).toHaveLength(1);
  });

  it("twice at the same instant is done once; the other is told to come back", async () => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind: "late", ms: 60_000 });
    const answers: Response[] = [];
    const asked = [1, 2, 3].map(async () => void answers.push(await create("k1", {}, tenant)));
    await expect.poll(() => answers).toHaveLength(2);
    for (const told of answers) {
      expect(told).toMatchObject({ status: 409, body: { code: "REQUEST_IN_PROGRESS", retryAfter: 2 } });
    }
    await control("retell", "POST", "/clock", { advanceMs: 60_000 });
    await Promise.all(asked);
    expect(answers.at(-1)?.status).toBe(200);
    expect((await create("k1", {}, tenant)).headers["idempotent-replayed"]).toBe("true");
    expect(await atRetell(tenant)).toHaveLength(1);
  });

  it("is refused with another body: 422", async () => {
    const tenant = await aWorld();
    await create("k1", {}, tenant);
    expect((await create("k1", { metadata: { b: 2 } }, tenant)).body.code).toBe("IDEMPOTENCY_KEY_REUSED");
  });

  it("is the same request, however its JSON is written: order, spelling, null or nothing", async () => {
    const tenant = await aWorld();
    const chats: number[] = [];
    for (const [key, bodies] of Object.entries({
      full: [
        `{"agentId": "agent_shop", "metadata": {"a": {"c": [1, {"x": 1, "y": 2}], "b": null}, "1": 1, "z": "é"},
          "retell_llm_dynamic_variables": {"age": 7, "name": "Ana"}}`,
        `{"retell_llm_dynamic_variables": {"name": "Ana", "age": "7"}, "unknown": 1,
          "metadata": {"z": "\\u00e9", "1": 1.0, "a": {"b": null, "c": [1, {"y": 2, "x": 1}]}}, "agentId": "agent_shop"}`,
      ],
      empty: [
        '{"agentId": "agent_shop"}',
        '{"agentId": "agent_shop", "metadata": {}, "retell_llm_dynamic_variables": {}}',
        '{"agentId": "agent_shop", "metadata": null, "retell_llm_dynamic_variables": null, "agent_version": null}',
      ],
    })) {
      const answers: Response[] = [];
      for (const body of bodies) answers.push(await create(key, body, tenant));
      expect(answers.map(({ status }) => status)).toEqual(bodies.map(() => 200));
      chats.push(new Set(answers.map(({ body }) => body.data.chat_id)).size);
    }
    expect(chats).toEqual([1, 1]);
  });

  it.each([
    ['{"a": [1, 2]}', '{"a": [2, 1]}'],
    ['{"a": {"b": 1}, "c": 2}', '{"a": {"b": 1, "c": 2}}'],
    ['{"a": null}', "{}"],
    ['{"a": 1}', '{"a": "1"}'],
    ['{"a": {"0": "x"}}', '{"a": ["x"]}'],
  ])("is another one with the metadata %s and then %s: 422", async (one, other) => {
    const tenant = await aWorld();
    const body = (metadata: string) => `{"agentId": "agent_shop", "metadata": ${metadata}}`;
    expect((await create("k1", body(one), tenant)).status).toBe(200);
    expect((await create("k1", body(other), tenant)).status).toBe(422);
  });

  it("leaves the key free when it failed for sure", async () => {
    const tenant = await aWorld();
    expect((await create("k1", { agentId: "agent_unknown" }, tenant)).status).toBe(404);
    expect(await request(tenant)).toBeNull();
    await fault(tenant, "create", { kind: "status", status: 403 });
    expect((await create("k1", {}, tenant)).status).toBe(503);
    expect((await create("k1", {}, tenant)).status).toBe(200);
    expect(await atRetell(tenant)).toHaveLength(1);
  });

  it.each(["drop", "half", "garbage"])("adopts the chat whose creation was not answered (%s)", async (kind) => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind, effect: "before" });
    expect((await create("k1", { metadata: { a: 1 } }, tenant)).status).toBe(504);
    const adopted = await create("k1", { metadata: { a: 1 } }, tenant);
    expect([adopted.status, adopted.headers["idempotent-replayed"]]).toEqual([200, "true"]);
    expect((await atRetell(tenant)).map((chat: { chat_id: string }) => chat.chat_id)).toEqual([
      adopted.body.data.chat_id,
    ]);
    const chat = await tenant.db.collection("chats").findOne({});
    expect(chat).toMatchObject({ chat_id: adopted.body.data.chat_id, metadata: { a: 1 } });
    expect((await create("k1", { metadata: { a: 1 } }, tenant)).body.data).toEqual(adopted.body.data);
  });

  it("adopts the chat that Retell has created before it failed (500), and tries anew after 15 s if there is none", async () => {
    const [made, none] = [await aWorld(), await aWorld()];
    await fault(made, "create", { kind: "status", status: 500, effect: "before" });
    await fault(none, "create", { kind: "status", status: 500 });
    for (const tenant of [made, none]) {
      const { status, body } = await create("k1", {}, tenant);
      expect([status, body.code, body.details]).toEqual([503, "CHAT_CREATION_FAILED", unknown]);
    }
    const adopted = await create("k1", {}, made);
    expect([adopted.status, adopted.headers["idempotent-replayed"]]).toEqual([200, "true"]);
    expect(await atRetell(made)).toHaveLength(1);

    expect((await create("k1", {}, none)).body.code).toBe("REQUEST_IN_PROGRESS");
    await none.db
      .collection("chatrequests")
      .updateOne({}, { $set: { finishedAt: new Date(Date.now() - 16_000), at: new Date(Date.now() - 20_000) } });
    const anew = await create("k1", {}, none);
    expect([anew.status, anew.headers["idempotent-replayed"]]).toEqual([200, undefined]);
    expect(await atRetell(none)).toHaveLength(1);
    expect(await request(none)).not.toHaveProperty("finishedAt");
  });

  it("adopts the chat whose creation timed out and came to be later", async () => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind: "late", ms: 60_000 });
    const lost = await create("k1", {}, tenant, { remainingMs: 5_300 });
    expect([lost.status, lost.body.code, lost.body.details]).toEqual([504, "TIMEOUT", unknown]);
    expect((await create("k1", {}, tenant)).body.code).toBe("REQUEST_IN_PROGRESS");
    await control("retell", "POST", "/clock", { advanceMs: 60_000 });
    const adopted = await create("k1", {}, tenant);
    expect([adopted.status, adopted.headers["idempotent-replayed"]]).toEqual([200, "true"]);
    expect(await atRetell(tenant)).toMatchObject([{ chat_id: adopted.body.data.chat_id }]);
    expect((await send(adopted.body.data.chat_id, "m1", "ping", {}, tenant)).status).toBe(200);
  });

  it("repeated three times at once adopts the chat once, and all get it", async () => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind: "drop", effect: "before" });
    expect((await create("k1", {}, tenant)).status).toBe(504);
    const answers = await Promise.all([1, 2, 3].map(() => create("k1", {}, tenant)));
    expect(answers.map(({ status, headers }) => [status, headers["idempotent-replayed"]])).toEqual(
      Array(3).fill([200, "true"]),
    );
    for (const { body } of answers) expect(body.data).toEqual(answers[0]?.body.data);
    expect(await atRetell(tenant)).toMatchObject([{ status: "ongoing" }]);
  });

  it("waits for a creation that may still come, and tries anew after SETTLE", async () => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind: "drop" });
    expect((await create("k1", {}, tenant)).status).toBe(504);
    expect((await create("k1", {}, tenant)).body.code).toBe("REQUEST_IN_PROGRESS");
    await age(tenant, 331_000);
    const anew = await create("k1", {}, tenant);
    expect([anew.status, anew.headers["idempotent-replayed"]]).toEqual([200, undefined]);
    expect(await atRetell(tenant)).toHaveLength(1);
  });

  it("takes over from an attempt that died after it had stored the chat", async () => {
    const tenant = await aWorld();
    const first = await create("k1", {}, tenant);
    await tenant.db.collection("chatrequests").updateOne({}, { $unset: { chat_id: "" } });
    expect((await create("k1", {}, tenant)).body.code).toBe("REQUEST_IN_PROGRESS");
    await age(tenant, 41_000);
    expect((await create("k1", {}, tenant)).body.data).toEqual(first.body.data);
    expect(await atRetell(tenant)).toHaveLength(1);
  });

  it("replays a chat that was talked in, also when it was not noted and is over since", async () => {
    const tenant = await aWorld();
    const first = await create("k1", {}, tenant);
    const chatId = first.body.data.chat_id;
    await tenant.db.collection("chatrequests").updateOne({}, { $unset: { chat_id: "" } });
    await age(tenant, 3_600_000);
    await send(chatId, "m1", "ping", {}, tenant);
    await call("end", { token: tenant.owner.token, subaccountId: tenant.subaccountId, chatId });
    const again = await create("k1", {}, tenant);
    expect([again.status, again.headers["idempotent-replayed"]]).toEqual([200, "true"]);
    expect(again.body.data).toEqual(first.body.data);
    expect(await atRetell(tenant)).toHaveLength(1);
  });

  it("is another one once the key has been forgotten, a day later", async () => {
    const tenant = await aWorld();
    const first = await create("k1", {}, tenant);
    await tenant.db.collection("chatrequests").deleteOne({}); // as MongoDB does, by `expires`
    const second = await create("k1", {}, tenant);
    expect([second.status, second.headers["idempotent-replayed"]]).toEqual([200, undefined]);
    expect(second.body.data.chat_id).not.toBe(first.body.data.chat_id);
    expect((await create("k1", {}, tenant)).body.data).toEqual(second.body.data);
    expect(await atRetell(tenant)).toMatchObject([{ status: "ongoing" }, { status: "ongoing" }]);
  });

  it("replays a chat in which nobody has spoken, also when it was not noted and is over since", async () => {
    const tenant = await aWorld();
    const first = await create("k1", {}, tenant);
    await tenant.db.collection("chatrequests").updateOne({}, { $unset: { chat_id: "" } });
    await age(tenant, 3_600_000);
    await control("retell", "PATCH", `/chats/${first.body.data.chat_id}`, { status: "ended" });
    for (let i = 0; i < 2; i++) {
      const again = await create("k1", {}, tenant);
      expect([again.status, again.headers["idempotent-replayed"]]).toEqual([200, "true"]);
      expect(again.body.data).toEqual(first.body.data);
    }
    expect(await atRetell(tenant)).toHaveLength(1);
  });

  it.each([
    ["was noted", {}],
    ["was not noted", { $unset: { chat_id: "" } }],
  ])("answers 404 once its chat is gone, whether the chat %s or not, and creates no other", async (_what, note) => {
    const tenant = await aWorld();
    const chatId = (await create("k1", {}, tenant)).body.data.chat_id;
    if ("$unset" in note) await tenant.db.collection("chatrequests").updateOne({}, note);
    await age(tenant, 41_000);
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    const gone = { "internal.tombstone": { at: new Date(), why: "deleted" } };
    await tenant.db.collection("chats").updateOne({ chat_id: chatId }, { $set: gone });
    for (let i = 0; i < 2; i++) {
      const { status, body } = await create("k1", {}, tenant);
      expect([status, body.code]).toEqual([404, "CHAT_NOT_FOUND"]);
    }
    expect(await atRetell(tenant)).toHaveLength(1);
  });

  it("answers 404 when its chat was removed from the database", async () => {
    const tenant = await aWorld();
    await create("k1", {}, tenant);
    await tenant.db.collection("chats").deleteMany({});
    expect((await create("k1", {}, tenant)).body.code).toBe("CHAT_NOT_FOUND");
    expect(await atRetell(tenant)).toHaveLength(1);
  });

  it("does not replay a chat that was ended because it could not be stored", async () => {
    const tenant = await aWorld();
    await tenant.db.command({ collMod: "chats", validator: { never: { $exists: true } } });
    expect((await create("k1", {}, tenant)).status).toBe(500);
    await tenant.db.command({ collMod: "chats", validator: {} });
    const again = await create("k1", {}, tenant);
    expect(again.status).toBe(200);
    const chats = await atRetell(tenant);
    expect(chats.map((chat: { status: string }) => chat.status).sort()).toEqual(["ended", "ongoing"]);
    expect(chats.find((chat: { status: string }) => chat.status === "ongoing").chat_id).toBe(again.body.data.chat_id);
  });

  it("tried again when the day of its key is nearly over is remembered beyond it", async () => {
    const tenant = await aWorld();
    const requests = tenant.db.collection<{ _id: string; expires?: Date }>("chatrequests");
    await create("k1", {}, tenant);
    // As an attempt that died long ago and left nothing.
    const died = { owner: "dead", state: "unknown", at: new Date(Date.now() - 3_600_000) };
    await requests.updateOne({}, { $set: { ...died, expires: new Date(Date.now() + 1_000) }, $unset: { chat_id: "" } });
    const answer = await create("k1", {}, tenant);
    expect(answer.status).toBe(200);
    const stored = await requests.findOne();
    expect(stored).toMatchObject({ chat_id: answer.body.data.chat_id });
    expect(stored?.expires?.getTime()).toBeGreaterThan(Date.now() + 3_000_000);
  });
});

describe("a create that Retell answers with a 4xx of its own", () => {
  const own = [400, 401, 402, 403, 404, 413, 415, 422, 429];
  const keyless = (tenant: World) =>
    call("create", { token: tenant.owner.token, subaccountId: tenant.subaccountId, body: { agentId: tenant.agentId } });

  it.each(own)("%i, and has done: the chat is found and answered", async (status) => {
    for (const ask of [(tenant: World) => create("k1", {}, tenant), keyless]) {
      const tenant = await aWorld();
      await fault(tenant, "create", { kind: "status", status, effect: "before" });
      const { status: answered, headers, body } = await ask(tenant);
      expect([answered, body.code, headers["idempotent-replayed"]]).toEqual([200, undefined, undefined]);
      expect(await atRetell(tenant)).toMatchObject([{ chat_id: body.data.chat_id, status: "ongoing" }]);
      const chat = await tenant.db.collection("chats").findOne({ chat_id: body.data.chat_id });
      expect(chat?.messages).toHaveLength(body.data.messages.length);
      if (ask !== keyless) expect((await create("k1", {}, tenant)).body.data).toEqual(body.data);
    }
  });

  it.each(own)("%i, and has not done: it has failed, and its key is free", async (status) => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind: "status", status });
    const { status: answered, body } = await create("k1", {}, tenant);
    expect([answered, body.code, body.details]).toEqual([503, "CHAT_CREATION_FAILED", undefined]);
    expect(await request(tenant)).toBeNull();
    const lists = (await control("retell", "GET", `/requests?step=list&key=${tenant.apiKey}`)).requests;
    expect(lists).toHaveLength(1);
  });

  it("and whose list cannot be read, is of unknown outcome; a repeat looks first", async () => {
    const [made, none] = [await aWorld(), await aWorld()];
    for (const tenant of [made, none]) {
      const effect = tenant === made ? "before" : "none";
      await fault(tenant, "create", { kind: "status", status: 422, effect });
      await fault(tenant, "list", { kind: "status", status: 503 });
      const { status, body } = await create("k1", {}, tenant);
      expect([status, body.code, body.details]).toEqual([503, "CHAT_CREATION_FAILED", unknown]);
    }
    const found = await create("k1", {}, made);
    expect([found.status, found.headers["idempotent-replayed"]]).toEqual([200, "true"]);
    expect(await atRetell(made)).toHaveLength(1);

    expect((await create("k1", {}, none)).body.code).toBe("REQUEST_IN_PROGRESS");
    const finishedAt = new Date(Date.now() - 16_000);
    await none.db.collection("chatrequests").updateOne({}, { $set: { finishedAt } });
    const anew = await create("k1", {}, none);
    expect([anew.status, anew.headers["idempotent-replayed"]]).toEqual([200, undefined]);
    expect(await atRetell(none)).toHaveLength(1);
  });

  it("takes no other create's chat, though both have one operationId", async () => {
    const tenant = await aWorld();
    const asked = {
      token: tenant.owner.token,
      subaccountId: tenant.subaccountId,
      body: { agentId: tenant.agentId },
      headers: { "x-operation-id": crypto.randomUUID() },
    };
    expect((await call("create", asked)).status).toBe(200);
    await fault(tenant, "create", { kind: "status", status: 422 });
    expect((await call("create", asked)).status).toBe(503);
  });

  it("is not looked for where Retell was not asked: the breaker was open", async () => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind: "status", status: 429, retryAfter: 30 });
    for (let i = 0; i < 2; i++) expect((await create("k1", {}, tenant)).status).toBe(503);
    const lists = (await control("retell", "GET", `/requests?step=list&key=${tenant.apiKey}`)).requests;
    expect(lists).toHaveLength(1);
  });
});

it.each([408, 409, 423, 424, 425, 499, 502])(
  "a create that something in between answers with %i is of unknown outcome, and its key finds the chat",
  async (status) => {
    const tenant = await aWorld();
    await fault(tenant, "create", { kind: "status", status, effect: "after", effectAfterMs: 60_000 });
    const lost = await create("k1", {}, tenant);
    expect([lost.status, lost.body.details]).toEqual([504, unknown]);
    expect((await create("k1", {}, tenant)).body.code).toBe("REQUEST_IN_PROGRESS");
    await control("retell", "POST", "/clock", { advanceMs: 60_000 });
    const found = await create("k1", {}, tenant);
    expect([found.status, found.headers["idempotent-replayed"]]).toEqual([200, "true"]);
    expect(await atRetell(tenant)).toHaveLength(1);
  },
);
