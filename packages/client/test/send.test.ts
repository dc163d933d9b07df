import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { AbortError, BusyError, ChatError, DeadlineError, NetworkError, RateLimitError } from "../src/index.ts";
import { anApi, aStorage, type Got, no, ok, type Reply, sent } from "./support/api.ts";

const unknown = no(504, "MESSAGE_SEND_FAILED", { details: { outcome: "unknown" } });
/** A wait that no deadline of these tests allows, so the call ends at its first answer. */
const later = { "retry-after": "60" };
const html = { status: 502, body: "<h1>Bad gateway</h1>" };

describe("a send", () => {
  it.each<[string, Reply]>([
    ["a cut connection", "cut"],
    ["409 CHAT_BUSY", no(409, "CHAT_BUSY")],
    ["409 REQUEST_IN_PROGRESS", no(409, "REQUEST_IN_PROGRESS")],
    ["429", no(429, "RATE_LIMIT_EXCEEDED")],
    ["API Gateway's 429", { status: 429, body: { message: "Too Many Requests" } }],
    ["503", no(503, "MESSAGE_SEND_FAILED")],
    ["an unknown outcome", unknown],
    ["API Gateway's 500, for a function that was killed", { status: 500, body: { message: "Internal Server Error" } }],
    ["a page of a proxy", html],
    ["a page of a hotel's network", { status: 200, body: "<h1>Welcome</h1>" }],
  ])("is repeated under its one key after %s", async (_, failure) => {
    const api = await anApi(failure, sent());
    expect((await api.client().chat("c1").send("hi")).user_message.seq).toBe(1);
    const [first, second] = api.got;
    expect(first?.headers["idempotency-key"]).toMatch(/^[\da-f-]{36}$/);
    expect(second).toEqual({ ...first, headers: expect.objectContaining({ "idempotency-key": api.keys()[0] }) });
    expect(second?.headers["x-operation-id"]).not.toBe(first?.headers["x-operation-id"]);
  });

  it.each<[number, string, string]>([
    [400, "VALIDATION_ERROR", "ValidationError"],
    [403, "PERMISSION_DENIED", "PermissionError"],
    [404, "CHAT_NOT_FOUND", "NotFoundError"],
    [409, "CHAT_ENDED", "ChatEndedError"],
    [413, "PAYLOAD_TOO_LARGE", "ValidationError"],
    [422, "IDEMPOTENCY_KEY_REUSED", "ChatError"],
    [500, "API_KEY_DECRYPTION_ERROR", "UnavailableError"],
    [418, "A_CODE_OF_LATER", "ChatError"],
  ])("that is refused by %s %s is not repeated, and gives a %s", async (status, code, name) => {
    const errors = [{ field: "content", in: "body", message: "Must not be blank" }];
    const api = await anApi(no(status, code, { errors, details: { a: 1 } }));
    const chat = api.client().chat("c1");
    const error = await chat.send(" ").catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ChatError);
    expect(error).toMatchObject({ name, code, status, operationId: "op", fields: errors, details: { a: 1 } });
    expect([api.got.length, error.key, await chat.pending()]).toEqual([1, api.keys()[0], []]);
  });

  it("waits as long as Retry-After says, and says so to the hook", async () => {
    const api = await anApi(no(429, "RATE_LIMIT_EXCEEDED", {}, { "retry-after": "1" }), sent());
    const events: object[] = [];
    const startedAt = Date.now();
    await api
      .client({ onRequest: (event) => events.push(event) })
      .chat("c1")
      .send("secret");
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(990);
    const [key] = api.keys();
    const common = { operation: "send", method: "POST", idempotencyKey: key, durationMs: expect.any(Number) };
    expect(events).toMatchObject([
      { ...common, attempt: 1, status: 429, code: "RATE_LIMIT_EXCEEDED", retryInMs: expect.any(Number) },
      { ...common, attempt: 2, status: 200, replayed: false },
    ]);
    expect(JSON.stringify(events)).not.toMatch(/secret|t1/);
  });

  it("ends when its time is over, with the last error and what became of the message", async () => {
    const limited = await anApi(no(429, "RATE_LIMIT_EXCEEDED", {}, later));
    const error = await limited
      .client()
      .chat("c1")
      .send("hi", { timeoutMs: 30_000 })
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(RateLimitError); // at once: there is nothing to wait for
    expect(error).toMatchObject({ outcome: "failed", retryAfter: 60 });

    const silent = await anApi(new Promise<never>(() => {}));
    const chat = silent.client().chat("c1");
    const late = await chat.send("hi", { timeoutMs: 1_000 }).catch((thrown) => thrown);
    expect(late).toBeInstanceOf(DeadlineError);
    expect([late.outcome, (await chat.pending()).map(({ key }) => key)]).toEqual(["unknown", silent.keys()]);
  });

  it("whose connection was cut is unknown, whatever the refusals of its repeats", async () => {
    const api = await anApi("cut", no(403, "PERMISSION_DENIED"));
    const chat = api.client().chat("c1");
    expect(await chat.send("hi").catch(({ code, outcome }) => [code, outcome])).toEqual([
      "PERMISSION_DENIED",
      "unknown",
    ]);
    expect(await chat.pending()).toMatchObject([{ content: "hi", key: api.keys()[0] }]);
  });

  it("that cannot be decided any more is final", async () => {
    const api = await anApi(no(504, "MESSAGE_SEND_FAILED", { details: { outcome: "undecided" } }));
    const chat = api.client().chat("c1");
    expect(await chat.send("hi").catch(({ outcome }) => outcome)).toBe("undecided");
    expect([api.got.length, await chat.pending()]).toEqual([1, []]);
  });

  it("that is aborted stays pending if it may have arrived", async () => {
    const api = await anApi(new Promise<never>(() => {}));
    const chat = api.client().chat("c1");
    const controller = new AbortController();
    const sending = chat.send("hi", { signal: controller.signal });
    await vi.waitFor(() => expect(api.got).toHaveLength(1));
    expect(await chat.pending()).toEqual([]); // it is under way
    controller.abort();
    const error = await sending.catch((thrown) => thrown);
    expect(error).toBeInstanceOf(AbortError);
    expect([error.outcome, (await chat.pending()).length]).toEqual(["unknown", 1]);
  });

  it("repeats an earlier one by its key", async () => {
    const api = await anApi(no(503, "MESSAGE_SEND_FAILED", {}, later), sent());
    const chat = api.client().chat("c1");
    const { key, outcome } = await chat
      .send("hi", { timeoutMs: 30_000, clientMessageId: "b1" })
      .catch((thrown) => thrown);
    expect(outcome).toBe("failed");
    await chat.send("hi", { key, clientMessageId: "b1" });
    expect(api.keys()).toEqual([key, key]);
    expect(api.got[1]?.body).toEqual({ content: "hi", client_message_id: "b1" });
  });

  it("repeats a pending one with its own id, and another text under its key leaves it pending", async () => {
    const refused = no(403, "PERMISSION_DENIED");
    const api = await anApi("cut", refused, no(422, "IDEMPOTENCY_KEY_REUSED"), sent());
    const chat = api.client().chat("c1");
    const { key } = await chat.send("hi", { clientMessageId: "b1" }).catch((thrown) => thrown);
    const other = await chat.send("other", { key }).catch(({ code, outcome }) => [code, outcome]);
    expect([other, await chat.pending()]).toMatchObject([["IDEMPOTENCY_KEY_REUSED", "unknown"], [{ content: "hi" }]]);
    await chat.send("hi", { key });
    expect(api.got.at(-1)?.body).toEqual({ content: "hi", client_message_id: "b1" });
    expect(await chat.pending()).toEqual([]);
  });

  it("under a key of the app's own is as unknown as its attempts, and repeats one that is pending", async () => {
    const api = await anApi(no(403, "PERMISSION_DENIED"), "cut", no(403, "PERMISSION_DENIED"), sent());
    const chat = api.client().chat("c1");
    const send = () => chat.send("hi", { key: "k1" }).catch(({ code, outcome }) => [code, outcome]);
    expect(await send()).toEqual(["PERMISSION_DENIED", "failed"]);
    expect(await send()).toEqual(["PERMISSION_DENIED", "unknown"]);
    const aborted = await chat.send("hi", { key: "k1", signal: AbortSignal.abort() }).catch(({ outcome }) => outcome);
    expect([aborted, (await chat.pending()).length]).toEqual(["unknown", 1]);
    await send();
    expect([new Set(api.keys()), await chat.pending()]).toEqual([new Set(["k1"]), []]);
  });

  it("of a network without a connection says so", async () => {
    const api = await anApi(sent());
    const fetch = () => Promise.reject(new TypeError("Failed to fetch"));
    const error = await api
      .client({ fetch })
      .chat("c1")
      .send("hi", { timeoutMs: 50 })
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(NetworkError);
    expect(error).toMatchObject({ status: 0, operationId: expect.stringMatching(/^[\da-f-]{36}$/) });
  });
});

describe("sends of one chat", () => {
  it("go out one after another, also after a 409", async () => {
    const api = await anApi(sent(1), no(409, "CHAT_BUSY"), sent(2), sent(3));
    const chat = (client = api.client()) => client.chat("c1");
    const client = api.client();
    const seqs = await Promise.all(["a", "b", "c"].map((text) => chat(client).send(text)));
    expect(seqs.map(({ user_message }) => user_message.seq)).toEqual([1, 2, 3]);
    expect(api.got.map(({ body }) => Object(body).content)).toEqual(["a", "b", "b", "c"]);
  });

  it("are held up by none that is aborted while it waits, and that one is not sent", async () => {
    const { promise: first, resolve: answer } = Promise.withResolvers<Awaited<Reply>>();
    const api = await anApi(first, sent(2));
    const chat = api.client().chat("c1");
    const controller = new AbortController();
    const sends = [chat.send("a"), chat.send("b", { signal: controller.signal }), chat.send("c")];
    controller.abort();
    const error = await sends[1]?.catch((thrown: ChatError) => thrown);
    expect(error).toMatchObject({ code: "ABORTED", outcome: "failed" });
    answer(sent(1));
    await Promise.all([sends[0], sends[2]]);
    expect(api.got.map(({ body }) => Object(body).content)).toEqual(["a", "c"]);
    expect(await chat.pending()).toEqual([]);
  });

  it("do not wait for another chat, and an end waits for them", async () => {
    const { promise: slow, resolve: answer } = Promise.withResolvers<Awaited<Reply>>();
    const api = await anApi(({ path }: Got) =>
      path === "c1/message" ? slow : path === "c1/end" ? ok({ chat_status: "ended" }) : sent(1),
    );
    const client = api.client();
    const sending = client.chat("c1").send("a");
    const ending = client.chat("c1").end();
    await client.chat("c2").send("b");
    expect(api.got.map(({ path }) => path).sort()).toEqual(["c1/message", "c2/message"]);
    answer(sent(1));
    await Promise.all([sending, ending]);
    expect(api.got.at(-1)?.path).toBe("c1/end");
  });
});

describe("a storage", () => {
  it("has the key and the text before the first attempt, and nothing once there is an answer", async () => {
    const storage = aStorage();
    const seen: string[] = [];
    const api = await anApi(() => {
      seen.push(...storage.held.values());
      return sent();
    });
    const chat = api.client({ storage }).chat("c1");
    await chat.send("hi");
    expect(JSON.parse(String(seen[0]))).toMatchObject([{ key: api.keys()[0], content: "hi" }]);
    expect([...storage.held]).toEqual([]);
  });

  it("lets a message survive a reload: its repeat has its key and body, and goes out before later ones", async () => {
    const storage = aStorage();
    const dying = await anApi(new Promise<never>(() => {}));
    void dying
      .client({ storage })
      .chat("c1")
      .send("before")
      .catch(() => {}); // a page that is closed meanwhile
    await vi.waitFor(() => expect(dying.got).toHaveLength(1));

    const api = await anApi(sent(1), sent(2));
    const chat = api.client({ storage }).chat("c1");
    const [left] = await chat.pending();
    expect(left).toMatchObject({ content: "before", key: dying.keys()[0] });
    const [resumed] = await Promise.all([chat.resume(), chat.send("after")]);
    expect(resumed).toMatchObject([{ message: left, answer: { user_message: { seq: 1 } } }]);
    expect(api.got.map(({ body }) => Object(body).content)).toEqual(["before", "after"]);
    expect([api.keys()[0], api.got[0]?.body]).toEqual([dying.keys()[0], dying.got[0]?.body]);
    expect(await chat.pending()).toEqual([]);
  });

  it("keeps what a resume could not find out, and forgets what is discarded", async () => {
    const storage = aStorage();
    const api = await anApi("cut", no(401, "INVALID_ACCESS_TOKEN"));
    const chat = api.client({ storage }).chat("c1");
    await chat.send("hi").catch(() => {});
    const [{ message, error } = Object()] = await chat.resume();
    expect([message.content, error.code, error.outcome]).toEqual(["hi", "INVALID_ACCESS_TOKEN", "unknown"]);
    await chat.discard(message.key);
    expect([...storage.held]).toEqual([]);
  });

  it("that hangs stops no message", async () => {
    const api = await anApi(sent());
    const problems: unknown[] = [];
    const hung = { ...aStorage(), getItem: () => new Promise<never>(() => {}) };
    await api
      .client({ storage: hung, onStorageError: (error) => problems.push(error) })
      .chat("c1")
      .send("hi");
    expect(problems).toHaveLength(2); // when it was added, and when it was removed
  });

  it("that fails or holds garbage stops no message", async () => {
    const api = await anApi(sent());
    const problems: unknown[] = [];
    const full = { ...aStorage(), setItem: () => Promise.reject(new Error("quota")) };
    await api
      .client({ storage: full, onStorageError: (error) => problems.push(error) })
      .chat("c1")
      .send("hi");
    expect(problems).toEqual([new Error("quota")]);
    const odd = aStorage();
    odd.setItem("scalai-chat/s1/c1", '{"x": [');
    expect(await api.client({ storage: odd }).chat("c1").pending()).toEqual([]);
    odd.setItem("scalai-chat/s1/c1", '[null, 3, {"key": 1}]');
    expect(await api.client({ storage: odd }).chat("c1").resume()).toEqual([]);
  });
});

describe("a token", () => {
  it("is refreshed once for all requests that wait", async () => {
    const api = await anApi(({ headers }: Got) =>
      headers.authorization === "Bearer t2" ? sent() : no(401, "INVALID_ACCESS_TOKEN"),
    );
    const onToken = vi.fn(async () => {
      await delay(50); // the requests are refused at different times
      return "t2";
    });
    const client = api.client({ onToken });
    await Promise.all(["c1", "c2", "c3"].map((id) => client.chat(id).send("hi")));
    await client.chat("c1").send("again");
    expect(onToken).toHaveBeenCalledTimes(1);
    expect(new Set(api.keys()).size).toBe(4);
  });

  it("that stays refused, or cannot be had, is an AuthError", async () => {
    const api = await anApi(no(401, "INVALID_ACCESS_TOKEN"));
    const again = await api
      .client({ token: () => "t1" })
      .chat("c1")
      .send("hi")
      .catch((thrown) => thrown);
    expect([again.name, again.code, api.got.length]).toEqual(["AuthError", "INVALID_ACCESS_TOKEN", 1]);
    let number = 1;
    const renewed = await api
      .client({ onToken: () => `t${++number}` })
      .chat("c1")
      .send("hi")
      .catch((thrown) => thrown);
    expect([renewed.name, api.got.length]).toEqual(["AuthError", 3]);
    const token = () => Promise.reject(new Error("signed out"));
    const none = await api
      .client({ token })
      .chat("c1")
      .send("hi")
      .catch((thrown) => thrown);
    expect([none.name, none.code, none.cause.message, api.got.length]).toEqual([
      ...["AuthError", "ACCESS_TOKEN_REQUIRED", "signed out", 3],
    ]);
  });
});

describe("without what browsers have and React Native lacks", () => {
  it("the client works the same", async () => {
    vi.stubGlobal("crypto", undefined);
    const { any, timeout } = AbortSignal;
    Object.assign(AbortSignal, { any: undefined, timeout: undefined });
    try {
      const api = await anApi("cut", sent());
      await api.client().chat("c1").send("hi", { signal: new AbortController().signal, timeoutMs: 60_000 });
      expect(new Set(api.keys()).size).toBe(1);
      expect(api.keys()[0]).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
    } finally {
      vi.unstubAllGlobals();
      Object.assign(AbortSignal, { any, timeout });
    }
  });
});

it("an error that a busy chat gives names its class", async () => {
  const api = await anApi(no(409, "CHAT_BUSY", {}, later));
  await expect(api.client().chat("c1").send("hi", { timeoutMs: 30_000 })).rejects.toBeInstanceOf(BusyError);
});
