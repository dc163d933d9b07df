import { ObjectId } from "mongodb";
import { afterEach, describe, expect, it, vi } from "vitest";
import { aChatBy, anInstance, aWire, type Instance, logOf, owned, verdict } from "./support/wire.ts";
import { aWorld, central, control, fault, type Name, type Request, type World } from "./support/world.ts";

const wire = await aWire();

afterEach(async () => {
  vi.useRealTimers();
  await wire.heal();
});

/** A request for every endpoint, each with a chat of its own. */
async function requests(world: World, instance: Instance): Promise<[Name, Request][]> {
  const inChat = async () => ({ ...owned(world), chatId: await aChatBy(instance, world) });
  return [
    ["list", owned(world)],
    ["transcript", await inChat()],
    ["message", { ...(await inChat()), body: { content: "ping" } }],
    ["end", await inChat()],
    ["create", { ...owned(world), body: { agentId: world.agentId } }],
  ];
}

describe.each([
  ["refuses connections", () => wire.upstash.refuse()],
  ["accepts them and says nothing", async () => wire.treat("upstash", "hang")],
  ["answers 500", () => wire.redisFault("error500")],
  ["answers with a web page", () => wire.redisFault("garbage")],
  ["answers after 600 ms", () => wire.redisFault("slow", 600)],
])("while Redis %s,", (_how, strike) => {
  it("every endpoint works, tells of degraded limits, and warns once, and once more of a list that is left as it was", async () => {
    const world = await aWorld();
    const healthy = await anInstance();
    const all = [await requests(world, healthy), await requests(world, healthy)];
    const instances = [await anInstance(), await anInstance()];
    await instances[0]?.call("list", owned(world));

    await strike();
    const asked = instances.map(async ({ call }, i) => {
      for (const [name, request] of all[i] ?? []) {
        const answer = await call(name, request);
        expect([name, ...verdict(answer)]).toEqual([name, 200, undefined]);
        expect(answer.headers["x-ratelimit-mode"]).toBe("degraded");

        const said = logOf(answer, "WARN").map(({ message }) => message);
        const ofList = name === "end" || name === "create" ? [expect.stringContaining("Cache not forgotten")] : [];
        expect([name, ...said]).toEqual([name, expect.any(String), ...ofList]);
      }
    });
    await Promise.all(asked);
  });

  it("permissions come from Mongo", async () => {
    const world = await aWorld();
    const { call } = await anInstance();
    await strike();
    const asking = (who: "viewer" | "stranger") => ({ ...owned(world), token: world[who].token });
    expect(verdict(await call("list", asking("viewer")))).toEqual([200, undefined]);
    const create = { ...asking("viewer"), body: { agentId: world.agentId } };
    expect(verdict(await call("create", create))).toEqual([403, "PERMISSION_DENIED"]);
    expect(verdict(await call("list", asking("stranger")))).toEqual([403, "PERMISSION_DENIED"]);
  });

  it("each instance enforces a tenth of the limits by itself", async () => {
    const world = await aWorld();
    const [one, other] = [await anInstance({ RATE_LIMIT_LIST: "20" }), await anInstance({ RATE_LIMIT_LIST: "20" })];
    await strike();
    const asked = [one, other].map(async ({ call }) => {
      expect((await call("list", owned(world))).headers["ratelimit-limit"]).toBe("2");
      expect(verdict(await call("list", owned(world)))).toEqual([200, undefined]);
      const refused = await call("list", owned(world));
      expect(verdict(refused)).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
      expect(refused.headers).toMatchObject({ "x-ratelimit-mode": "degraded", "ratelimit-remaining": "0" });
      expect(refused.body.retryAfter).toBeGreaterThan(0);
    });
    await Promise.all(asked);
  });
});

describe("while Redis is away,", () => {
  const count = (work: () => Promise<unknown>) => wire.callsTo("upstash", work).then((calls) => calls.length);

  it("a limit below ten still lets one through, and only one", async () => {
    const world = await aWorld();
    const { call } = await anInstance({ RATE_LIMIT_LIST: "5" });
    await wire.upstash.refuse();
    expect(verdict(await call("list", owned(world)))).toEqual([200, undefined]);
    expect(verdict(await call("list", owned(world)))).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
  });

  it("the user's general limit stands, over all endpoints", async () => {
    const world = await aWorld();
    const { call } = await anInstance({ RATE_LIMIT_USER: "20" });
    await wire.upstash.refuse();
    const read = { ...owned(world), chatId: "chat_of_nobody" };
    expect(verdict(await call("list", owned(world)))).toEqual([200, undefined]);
    expect(verdict(await call("transcript", read))).toEqual([404, "CHAT_NOT_FOUND"]);
    expect(verdict(await call("end", read))).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
  });

  it("a window ends after its minute", async () => {
    const world = await aWorld();
    const { call } = await anInstance({ RATE_LIMIT_LIST: "10" });
    vi.useFakeTimers({ toFake: ["Date"] });
    await wire.upstash.refuse();
    await call("list", owned(world));
    expect(verdict(await call("list", owned(world)))).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
    vi.setSystemTime(Date.now() + 60_000);
    expect(verdict(await call("list", owned(world)))).toEqual([200, undefined]);
  });

  it("it is left alone for ten seconds after three failures, and then asked once", async () => {
    const world = await aWorld();
    const { call } = await anInstance();
    const list = () => call("list", owned(world));
    await list();
    vi.useFakeTimers({ toFake: ["Date"] });
    await wire.redisFault("error500");

    for (let i = 0; i < 3; i++) expect(await count(list)).toBe(1);
    expect(await count(list)).toBe(0);
    vi.setSystemTime(Date.now() + 9_999);
    expect(await count(list)).toBe(0);
    vi.setSystemTime(Date.now() + 1);
    expect(await count(list)).toBe(1);
    expect(await count(list)).toBe(0);

    await wire.heal();
    vi.setSystemTime(Date.now() + 10_000);
    expect(await count(list)).toBeGreaterThan(0);
    const { headers } = await list();
    expect(headers["x-ratelimit-mode"]).toBeUndefined();
    expect(Number(headers["ratelimit-limit"])).toBe(50);
  });

  it("two failures and a success are no reason to leave it alone", async () => {
    const world = await aWorld();
    const { call } = await anInstance();
    const list = () => call("list", owned(world));
    await list();
    for (let round = 0; round < 3; round++) {
      await wire.redisFault("error500");
      for (let i = 0; i < 2; i++) expect(await count(list)).toBe(1);
      await wire.heal();
      expect((await list()).headers["x-ratelimit-mode"]).toBeUndefined();
    }
  });

  it("a write goes on, though the list may be old for a minute, and says so", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    await instance.call("list", owned(world));
    await wire.redisFault("error500");
    const answer = await instance.call("create", { ...owned(world), body: { agentId: world.agentId } });
    expect(verdict(answer)).toEqual([200, undefined]);
    await wire.heal();
    const other = await anInstance();
    const list = () => other.call("list", owned(world)).then(({ body }) => body.data.length);
    expect(await list()).toBe(0);
    await wire.flush(); // as after a minute
    expect(await list()).toBe(1);
  });
});

describe("while Retell is away,", () => {
  const away: [string, () => Promise<unknown>][] = [
    ["refuses connections", () => wire.retell.refuse()],
    ["accepts them and says nothing", async () => wire.treat("retell", "hang")],
    ["closes them", async () => wire.treat("retell", "cut")],
  ];

  it.each(away)("and %s, a transcript is the stored copy, marked as stale, with one warning", async (_how, strike) => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world), remainingMs: 4_000 };
    await strike();
    const answer = await instance.call("transcript", request);
    expect(verdict(answer)).toEqual([200, undefined]);
    expect(answer.body.meta).toMatchObject({ cached: false, stale: true });
    expect(answer.body.data.messages).toHaveLength(1);
    expect(logOf(answer, "WARN")).toHaveLength(1);

    const strong = await instance.call("transcript", { ...request, query: { consistency: "strong" } });
    expect(verdict(strong)).toEqual([503, "CHAT_RETRIEVE_FAILED"]);
  });

  it.each([
    ["refuses the account's key", 503, "CHAT_RETRIEVE_FAILED", (world: World) => refuseKey(world)],
    ["has no active account for us", 400, "RETELL_ACCOUNT_INACTIVE", (world: World) => deactivate(world)],
  ])("or %s, a transcript is the stored copy; strong: %i %s", async (_how, status, code, strike) => {
    const world = await aWorld();
    const request = { ...owned(world), chatId: await aChatBy(await anInstance(), world) };
    await strike(world);
    await wire.flush();
    const { call } = await anInstance();
    const answer = await call("transcript", request);
    expect(verdict(answer)).toEqual([200, undefined]);
    expect(answer.body.meta.stale).toBe(true);
    expect(logOf(answer, "WARN")).toHaveLength(1);
    expect(verdict(await call("transcript", { ...request, query: { consistency: "strong" } }))).toEqual([status, code]);
  });

  it("lists and ended chats do not notice", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world) };
    await instance.call("end", request);
    await wire.retell.refuse();
    expect((await instance.call("list", owned(world))).body.data).toHaveLength(1);
    const { body } = await instance.call("transcript", { ...request, query: { consistency: "strong" } });
    expect([body.data.chat_status, body.meta.stale]).toEqual(["ended", undefined]);
  });

  it("an ended chat whose end cannot be read is ended by our clock", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world) };
    await fault(world, "retrieve", { kind: "status", status: 500 });
    const { status, body } = await instance.call("end", request);
    expect([status, body.data.chat_status]).toEqual([200, "ended"]);
    expect(Math.abs(body.data.end_timestamp - Date.now())).toBeLessThan(10_000);
  });
});

/** Each of its deadlines is waited for in test/outages-mongo.proof.ts. */
describe("while Mongo is away,", () => {
  it("what is cached is served to a caller who is known; all else is 503 CONNECTION_FAILED, and nobody else passes", async () => {
    const world = await aWorld();
    const [warm, fresh] = [await anInstance(), await anInstance()];
    const all = await requests(world, warm);
    await warm.call("list", owned(world));
    await wire.mongo.refuse();
    for (const { call } of [warm, fresh]) {
      const { status, body } = await call("list", owned(world));
      expect([status, body.meta?.cached, body.data?.length]).toEqual([200, true, 3]);
    }
    const strangers = [world.stranger, world.superAdmin].map(({ token }) =>
      fresh.call("list", { ...owned(world), token }),
    );
    const others = all.slice(1).map(([name, request]) => warm.call(name, request));
    for (const answer of await Promise.all([...strangers, ...others])) {
      expect(verdict(answer)).toEqual([503, "CONNECTION_FAILED"]);
    }
    await wire.heal();
    for (const [name, request] of all)
      expect([name, ...verdict(await fresh.call(name, request))]).toEqual([name, 200, undefined]);
  });

  it("a reply whose write it does not acknowledge is stored once, and the answer is 200", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world), body: { content: "ping" } };
    let writes = 0;
    wire.mongo.treat = (what) => (what === "findAndModify chats" && ++writes === 2 ? "half" : "pass");
    expect(verdict(await instance.call("message", request))).toEqual([200, undefined]);
    await wire.heal();
    const chat = await world.db.collection("chats").findOne({ chat_id: request.chatId });
    expect(chat?.messages.map(({ role }: { role: string }) => role)).toEqual(["agent", "user", "agent"]);
  });
});

async function refuseKey({ apiKey }: World): Promise<void> {
  await control("retell", "PATCH", "/settings", { invalidKeys: { [apiKey]: 401 } });
}

async function deactivate(world: World): Promise<void> {
  const subaccountId = new ObjectId(world.subaccountId);
  await central.collection("retellaccounts").updateOne({ subaccountId }, { $set: { isActive: false } });
}

describe("while Redis is left alone after three failures,", () => {
  it("a request has one warning of it, in whatever it would have asked", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const chatId = await aChatBy(instance, world);
    await wire.upstash.refuse();
    for (let i = 0; i < 3; i++) await instance.call("list", owned(world));

    const asked: [Name, Request][] = [
      ["list", owned(world)],
      ["transcript", { ...owned(world), chatId }],
      ["message", { ...owned(world), chatId, body: { content: "ping" } }],
    ];
    const calls = await wire.callsTo("upstash", async () => {
      for (const [name, request] of asked) {
        const answer = await instance.call(name, request);
        expect([name, ...verdict(answer)]).toEqual([name, 200, undefined]);
        const warnings = logOf(answer, "WARN");
        expect([name, warnings.length, warnings[0]?.reason]).toEqual([
          name,
          1,
          expect.objectContaining({ name: "RedisUnavailable" }),
        ]);
      }
    });
    expect(calls).toEqual([]);
  });
});
