import "./support/own-retell.ts";
import { afterEach, describe, expect, it, vi } from "vitest";
import { aChatBy, anInstance, aWire, type Instance, logOf, owned, verdict } from "./support/wire.ts";
import { aWorld, control, fault, type Request, type World } from "./support/world.ts";

const wire = await aWire();

afterEach(async () => {
  vi.useRealTimers();
  await wire.heal();
  await control("retell", "DELETE", "/faults");
});

interface Tenant {
  world: World;
  request: Request & { chatId: string };
}

async function aTenant(instance: Instance): Promise<Tenant> {
  const world = await aWorld();
  return { world, request: { ...owned(world), chatId: await aChatBy(instance, world) } };
}

const always = (world: World, step: string, kind: object) => fault(world, step, { ...kind, count: 0 });
const callsToRetell = (work: () => Promise<unknown>) => wire.callsTo("retell", work);
const strong = (request: Request): Request => ({ ...request, query: { consistency: "strong" } });

/** Reads a transcript at Retell this many times, as an app that polls. Returns the last answer. */
async function read({ call }: Instance, { request }: Tenant, times = 1) {
  for (let i = 1; i < times; i++) await call("transcript", strong(request));
  return call("transcript", strong(request));
}

/** Lets five creates in a row fail at Retell, which opens the circuit for reads and sends, too. */
async function giveUp({ call }: Instance, { world }: Pick<Tenant, "world">): Promise<void> {
  for (let i = 0; i < 5; i++) await call("create", { ...owned(world), body: { agentId: world.agentId } });
}

/** This many chats of one account, each with its request. */
async function severalChats(instance: Instance, tenant: Tenant, count: number): Promise<Tenant[]> {
  const more = Array.from({ length: count - 1 }, async () => {
    const chatId = await aChatBy(instance, tenant.world);
    return { ...tenant, request: { ...tenant.request, chatId } };
  });
  return [tenant, ...(await Promise.all(more))];
}

/** An instance whose circuit for a tenant's Retell is open. The clock stands still. */
async function anInstanceThatGaveUp(): Promise<Tenant & { instance: Instance }> {
  const instance = await anInstance();
  const tenant = await aTenant(instance);
  vi.useFakeTimers({ toFake: ["Date"] });
  wire.treat("retell", "cut");
  await giveUp(instance, tenant);
  return { ...tenant, instance };
}

const later = (ms: number) => vi.setSystemTime(Date.now() + ms);

describe("a Retell that fails five times in a row", () => {
  it.each<[string, (world: World) => Promise<unknown>]>([
    ["closes connections", async () => wire.treat("retell", "cut")],
    ["answers 500", (world) => always(world, "any", { kind: "status", status: 500 })],
    ["answers 503", (world) => always(world, "any", { kind: "status", status: 503 })],
  ])("(%s) is left alone for ten seconds, then asked once; an answer ends it", async (_how, strike) => {
    const instance = await anInstance();
    const tenant = await aTenant(instance);
    vi.useFakeTimers({ toFake: ["Date"] });
    await strike(tenant.world);
    const once = () => callsToRetell(() => read(instance, tenant)).then((calls) => calls.length);

    expect(await callsToRetell(() => giveUp(instance, tenant))).toHaveLength(5);
    expect(await once()).toBe(0);
    later(9_999);
    expect(await once()).toBe(0);
    later(1);
    expect(await once()).toBe(1);
    expect(await once()).toBe(0);

    await wire.heal();
    await control("retell", "DELETE", "/faults");
    expect(await once()).toBe(0);
    later(10_000);
    expect(verdict(await read(instance, tenant))).toEqual([200, undefined]);
    expect(await callsToRetell(() => read(instance, tenant, 3))).toHaveLength(3);
  });

  it("that refuses connections, too", async () => {
    const instance = await anInstance();
    const tenant = await aTenant(instance);
    await wire.retell.refuse();
    await giveUp(instance, tenant);
    await wire.heal();
    expect(await callsToRetell(() => read(instance, tenant))).toEqual([]);
  });

  it("is tried by one call alone, even while that one has not come back", async () => {
    const { instance, ...tenant } = await anInstanceThatGaveUp();
    later(10_000);
    wire.treat("retell", "hang");
    const calls = await callsToRetell(async () => {
      const asked = [0, 1, 2, 3].map(() => instance.call("transcript", { ...tenant.request, remainingMs: 6_000 }));
      await Promise.all(asked);
    });
    expect(calls).toHaveLength(1);
  });

  it("and answers once in between is not left alone", async () => {
    const instance = await anInstance();
    const tenant = await aTenant(instance);
    const chats = await severalChats(instance, tenant, 4);
    for (let round = 0; round < 2; round++) {
      wire.treat("retell", "cut");
      for (const chat of chats) await read(instance, chat);
      await wire.heal();
      expect(verdict(await read(instance, tenant))).toEqual([200, undefined]);
    }
  });

  it("is one account's trouble: another's calls go through", async () => {
    const instance = await anInstance();
    const [one, other] = [await aTenant(instance), await aTenant(instance)];
    await always(one.world, "any", { kind: "drop" });
    await giveUp(instance, one);
    expect(await callsToRetell(() => read(instance, one))).toEqual([]);
    expect(verdict(await read(instance, other))).toEqual([200, undefined]);
  });

  it.each([
    [2, "is asked", 1],
    [3, "is left alone", 0],
  ])("in reads of %i chats %s when another one is read", async (count, _what, asked) => {
    const instance = await anInstance();
    const chats = await severalChats(instance, await aTenant(instance), count + 1);
    const other = chats.pop() as Tenant;
    await always(other.world, "retrieve", { kind: "status", status: 500 });
    for (let i = 0; i < 6; i++) await read(instance, chats[i % count] as Tenant);
    expect(await callsToRetell(() => read(instance, other))).toHaveLength(asked);
  });

  it("in reads alone refuses no send, no create and no end", async () => {
    const instance = await anInstance();
    const chats = await severalChats(instance, await aTenant(instance), 5);
    const [{ world, request }] = chats as [Tenant];
    await always(world, "retrieve", { kind: "status", status: 500 });
    for (const chat of chats) await read(instance, chat);
    expect(await callsToRetell(() => read(instance, chats[0] as Tenant))).toEqual([]);

    const calls = await callsToRetell(async () => {
      const sent = await instance.call("message", { ...request, body: { content: "ping" } });
      expect(verdict(sent)).toEqual([200, undefined]);
      for (const chat of chats) await read(instance, chat);
      const created = await instance.call("create", { ...owned(world), body: { agentId: world.agentId } });
      expect(verdict(created)).toEqual([200, undefined]);
      for (const chat of chats) await read(instance, chat);
      await instance.call("end", request);
    });
    const writes = calls.filter((call) => !call.includes("/get-chat/"));
    expect(writes).toEqual(["POST /create-chat-completion", "POST /create-chat", `PATCH /end-chat/${request.chatId}`]);
  });

  it("in sends of one chat refuses no other's; in sends of three it does", async () => {
    const instance = await anInstance();
    const chats = await severalChats(instance, await aTenant(instance), 4);
    const other = chats.pop() as Tenant;
    const send = ({ request }: Tenant) =>
      instance.call("message", { ...request, remainingMs: 8_000, body: { content: "ping" } });
    const ends = async (chat: Tenant, times: number) => {
      for (let i = 0; i < times; i++) await instance.call("end", chat.request);
    };
    await always(other.world, "end", { kind: "status", status: 503 });
    await always(other.world, "retrieve", { kind: "status", status: 503 });
    await ends(chats[0] as Tenant, 6);
    expect(await callsToRetell(() => send(other))).toContain("POST /create-chat-completion");

    for (const chat of chats) await ends(chat, 2);
    expect(await callsToRetell(() => send(other))).toEqual([]);
  });
});

describe("an answer of Retell's is no reason to leave it alone:", () => {
  it.each([
    ["404", { kind: "status", status: 404 }],
    ["401", { kind: "status", status: 401 }],
    ["a shape that we do not know", { kind: "garbage", as: "shape" }],
  ])("%s", async (_what, kind) => {
    const instance = await anInstance();
    const tenant = await aTenant(instance);
    await always(tenant.world, "retrieve", kind);
    expect(await callsToRetell(() => read(instance, tenant, 7))).toHaveLength(7);
  });
});

describe("while a Retell is left alone,", () => {
  const key = () => ({ "idempotency-key": crypto.randomUUID() });
  const sent = (chatId: string) => control("retell", "GET", `/chats/${chatId}`).then(({ entries }) => entries.length);

  it("a message is kept as failed, says when to try again, and its key is free", async () => {
    const { instance, request } = await anInstanceThatGaveUp();
    await wire.heal();
    later(3_001);
    const message = { ...request, body: { content: "ping" }, headers: key() };
    const before = await sent(request.chatId);
    const answer = await instance.call("message", message);
    expect([...verdict(answer), answer.headers["retry-after"], answer.body.retryAfter]).toEqual([
      503,
      "MESSAGE_SEND_FAILED",
      "7",
      7,
    ]);
    expect(answer.body.details).toEqual({ user_message: { message_id: expect.any(String), seq: 2 } });
    expect(await sent(request.chatId)).toBe(before);
    expect(logOf(answer, "WARN")).toEqual([]);
    expect(logOf(answer, "ERROR")).toMatchObject([
      {
        retellCircuitOpen: "away",
        reason: { cause: { name: "CircuitOpen", message: "Circuit open after 5 failures" } },
      },
    ]);

    const shown = async () => {
      const { body } = await instance.call("transcript", request);
      return body.data.messages.slice(1).map(({ role, delivery }: Record<string, string>) => [role, delivery]);
    };
    expect(await shown()).toEqual([["user", "failed"]]);
    later(7_000);
    const again = await instance.call("message", message);
    expect([...verdict(again), again.headers["idempotent-replayed"]]).toEqual([200, undefined, undefined]);
    expect(await shown()).toEqual([
      ["user", undefined],
      ["agent", undefined],
    ]);
  });

  it("nothing is created and nothing is ended", async () => {
    const { instance, world, request } = await anInstanceThatGaveUp();
    await wire.heal();
    const create = { ...owned(world), body: { agentId: world.agentId }, headers: key() };
    const refused = [await instance.call("create", create), await instance.call("end", request)];
    expect(refused.map((answer) => [...verdict(answer), answer.headers["retry-after"]])).toEqual([
      [503, "CHAT_CREATION_FAILED", "10"],
      [503, "CHAT_END_FAILED", "10"],
    ]);
    expect((await control("retell", "GET", `/chats?key=${world.apiKey}`)).chats).toHaveLength(1);

    later(10_000);
    expect(verdict(await instance.call("create", create))).toEqual([200, undefined]);
    expect(verdict(await instance.call("end", request))).toEqual([200, undefined]);
  });

  it("a transcript is the stored copy at once, marked as stale, with one warning", async () => {
    const { instance, request } = await anInstanceThatGaveUp();
    const answer = await instance.call("transcript", request);
    expect([...verdict(answer), answer.body.meta.stale]).toEqual([200, undefined, true]);
    expect(logOf(answer, "WARN")).toMatchObject([{ retellCircuitOpen: "away" }]);
  });

  it("a chat that could not be stored is ended all the same", async () => {
    const instance = await anInstance();
    const { world, request } = await aTenant(instance);
    await fault(world, "retrieve", { kind: "status", status: 429, retryAfter: 30 });
    let read: Promise<unknown> | undefined;
    wire.mongo.treat = (what) => {
      if (what !== "insert chats") return "pass";
      read = instance.call("transcript", request);
      return "hang";
    };
    const answer = await instance.call("create", { ...owned(world), body: { agentId: world.agentId } });
    expect(verdict(answer)).toEqual([503, "CONNECTION_FAILED"]);
    await read;
    const { chats } = await control("retell", "GET", `/chats?key=${world.apiKey}`);
    expect(chats.map(({ status }: { status: string }) => status).sort()).toEqual(["ended", "ongoing"]);
    await wire.heal();
    expect(verdict(await instance.call("end", request))).toEqual([503, "CHAT_END_FAILED"]); // this chat is no orphan, so the open circuit refuses its end
  });
});

describe("a 429 of Retell's", () => {
  it.each([
    [7, 7],
    [3_600, 60],
  ])("has the account left alone for as long as it says (%i s: %i), and no other", async (asked, seconds) => {
    const instance = await anInstance();
    const [one, other] = [await aTenant(instance), await aTenant(instance)];
    vi.useFakeTimers({ toFake: ["Date"] });
    await fault(one.world, "retrieve", { kind: "status", status: 429, retryAfter: asked });
    const first = await read(instance, one);
    later(2_000);
    const send = { ...one.request, body: { content: "ping" } };
    const calls = await callsToRetell(async () => {
      const second = await instance.call("message", send);
      expect([first, second].map((answer) => [...verdict(answer), answer.headers["retry-after"]])).toEqual([
        [503, "CHAT_RETRIEVE_FAILED", String(seconds)],
        [503, "MESSAGE_SEND_FAILED", String(seconds - 2)],
      ]);
      expect(logOf(second, "ERROR")).toMatchObject([{ retellCircuitOpen: "limited" }]);
    });
    expect(calls).toEqual([]);
    expect(verdict(await instance.call("message", { ...other.request, body: { content: "ping" } }))).toEqual([
      200,
      undefined,
    ]);

    later(seconds * 1_000 - 2_001);
    expect(verdict(await instance.call("message", send))).toEqual([503, "MESSAGE_SEND_FAILED"]);
    later(1);
    expect(verdict(await instance.call("message", send))).toEqual([200, undefined]);
  });

  it("is not shortened by the 429 of a read that goes out all the same, or is under way", async () => {
    const instance = await anInstance();
    const tenant = await aTenant(instance);
    vi.useFakeTimers({ toFake: ["Date"] });
    await fault(tenant.world, "completion", { kind: "status", status: 429, retryAfter: 30 });
    await fault(tenant.world, "retrieve", { kind: "status", status: 429 });
    const sent = await instance.call("message", { ...tenant.request, body: { content: "ping" } });
    expect([...verdict(sent), sent.headers["retry-after"]]).toEqual([503, "MESSAGE_SEND_FAILED", "30"]);
    later(2_000);
    expect(await callsToRetell(() => read(instance, tenant))).toEqual([]);
  });
});
