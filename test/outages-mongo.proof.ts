import { afterEach, describe, expect, it } from "vitest";
import { atRetell, heard, stored } from "./support/chats.ts";
import type { Treatment } from "./support/proxy.ts";
import { stopwatch } from "./support/stopwatch.ts";
import { aChatBy, anInstance, aWire, type Instance, logOf, owned, verdict } from "./support/wire.ts";
import { aWorld, type Name, type Request, type Response, type World } from "./support/world.ts";

const wire = await aWire();
afterEach(() => wire.heal());

/** The rule is 3 s; the rest is for a machine that has other things to do. A second wait for Mongo does not fit in. */
const ceilingMs = 3_500;

/** Treats a command so, the nth time that it comes, and whatever comes afterwards as `after`. */
function onNth(command: string, nth: number, how: Treatment, after: Treatment = "pass"): void {
  let seen = 0;
  wire.mongo.treat = (what) => {
    if (seen >= nth) return after;
    if (what !== command || ++seen < nth) return "pass";
    return how;
  };
}

const aKey = () => ({ "idempotency-key": crypto.randomUUID() });

/** Asks, and adds to the answer whether it came in time. */
async function ask({ call }: Instance, name: Name, request: Request): Promise<Response & { isInTime: boolean }> {
  const elapsed = stopwatch();
  const answer = await call(name, request);
  return { ...answer, isInTime: elapsed() < ceilingMs };
}

const outcome = (answer: Awaited<ReturnType<typeof ask>>) => [
  ...verdict(answer),
  answer.isInTime ? "in time" : "too late",
];
const unreachable = [503, "CONNECTION_FAILED", "in time"];
const fine = [200, undefined, "in time"];

/** A request for every endpoint, in a chat of the world. */
async function requests(world: World, instance: Instance): Promise<[Name, Request][]> {
  const inChat = { ...owned(world), chatId: await aChatBy(instance, world) };
  return [
    ["list", owned(world)],
    ["transcript", inChat],
    ["message", { ...inChat, body: { content: "ping" } }],
    ["message", { ...inChat, body: { content: "ping" }, headers: aKey() }],
    ["create", { ...owned(world), body: { agentId: world.agentId } }],
    ["create", { ...owned(world), body: { agentId: world.agentId }, headers: aKey() }],
    ["end", { ...inChat, chatId: await aChatBy(instance, world) }],
  ];
}

describe.each([
  ["refuses connections", () => wire.mongo.refuse()],
  ["accepts them and says nothing", async () => wire.treat("mongo", "hang")],
])("while Mongo %s,", (_how, strike) => {
  it("every endpoint answers 503 CONNECTION_FAILED in time, to known and unknown callers, and recovers", async () => {
    const world = await aWorld();
    const [warm, fresh] = [await anInstance(), await anInstance()];
    const all = await requests(world, warm);
    await wire.flush();

    await strike();
    const asked = [warm, fresh].flatMap((instance) =>
      all.map(async ([name, request]) => [name, ...outcome(await ask(instance, name, request))]),
    );
    for (const [i, answer] of (await Promise.all(asked)).entries()) {
      expect(answer).toEqual([all[i % all.length]?.[0], ...unreachable]);
    }

    await wire.heal();
    for (const instance of [warm, fresh]) {
      for (const [name, request] of all) {
        expect([name, ...outcome(await ask(instance, name, request))]).toEqual([name, ...fine]);
      }
    }
  });

  it("nobody passes: neither a stranger nor a super admin", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    await strike();
    const asked = [world.stranger, world.superAdmin].map(({ token }) =>
      ask(instance, "list", { ...owned(world), token }),
    );
    for (const answer of await Promise.all(asked)) expect(outcome(answer)).toEqual(unreachable);
  });

  it("and Redis too, the answer is the same", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    await strike();
    wire.treat("upstash", "hang");
    const answer = await ask(instance, "list", owned(world));
    expect(outcome(answer)).toEqual(unreachable);
    expect(answer.headers["x-ratelimit-mode"]).toBe("degraded");
  });

  it("what is cached is served to a caller who is known, here or in Redis", async () => {
    const world = await aWorld();
    const [warm, fresh] = [await anInstance(), await anInstance()];
    await aChatBy(warm, world);
    await warm.call("list", owned(world));
    await strike();
    for (const { call } of [warm, fresh]) {
      const { status, body } = await call("list", owned(world));
      expect([status, body.meta?.cached, body.data?.length]).toEqual([200, true, 1]);
      expect(verdict(await call("list", { ...owned(world), token: world.stranger.token }))).toEqual([
        503,
        "CONNECTION_FAILED",
      ]);
    }
  });
});

describe("when Mongo hangs", () => {
  it("for more requests than it has connections, the first request afterwards is answered", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    await instance.call("list", owned(world));
    const page = { ...owned(world), query: { limit: "7" } };
    wire.mongo.treat = (what) => (what === "find chats" ? "hang" : "pass");
    await Promise.all(Array.from({ length: 12 }, () => instance.call("list", page)));
    await wire.heal();
    expect(outcome(await ask(instance, "list", page))).toEqual(fine);
  });

  it("what was given up stays undone: nothing of it is done when Mongo is back", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world) };
    wire.treat("mongo", "hang");
    const answer = await instance.call("message", { ...request, body: { content: "lost" } });
    expect(verdict(answer)).toEqual([503, "CONNECTION_FAILED"]);

    const calls = await wire.callsTo("mongo", async () => {
      await wire.mongo.refuse();
      await wire.heal();
      expect(outcome(await ask(instance, "message", { ...request, body: { content: "found" } }))).toEqual(fine);
    });
    expect(calls.toSorted()).toEqual(["findAndModify chats", "findAndModify chats", "update chatwords"]);
    expect(
      (await stored(world, request.chatId))?.messages.map(({ content }: { content: string }) => content),
    ).not.toContain("lost");
  });
});

describe("a message whose reply Mongo does not take:", () => {
  const finish = "findAndModify chats"; // the second one: the first begins the turn

  it.each(["hang", "mute", "cut"] as const)(
    "for a moment (%s), it is stored once, and the answer is 200",
    async (how) => {
      const world = await aWorld();
      const instance = await anInstance();
      const request = { ...owned(world), chatId: await aChatBy(instance, world) };
      onNth(finish, 2, how);
      const answer = await instance.call("message", { ...request, body: { content: "ping" } });
      expect(verdict(answer)).toEqual([200, undefined]);
      expect(answer.body.data.messages).toHaveLength(1);
      await wire.heal();

      const chat = await stored(world, request.chatId);
      expect(chat?.messages.map(({ role }: { role: string }) => role)).toEqual(["agent", "user", "agent"]);
      expect(chat).toMatchObject({ message_count: 3, internal: { retellUserCount: 1 } });
      expect(chat?.internal.turn).toBeUndefined();
      expect(answer.body.data.messages[0].message_id).toBe(chat?.messages[2].message_id);
      expect(await heard(request.chatId)).toEqual(["ping"]);
    },
  );

  it.each(["hang", "mute"] as const)(
    "until our time is over (%s), 504 unknown, and the next read has it, once",
    async (how) => {
      const world = await aWorld();
      const instance = await anInstance();
      const request = { ...owned(world), chatId: await aChatBy(instance, world) };
      onNth(finish, 2, how, "hang");
      const answer = await instance.call("message", { ...request, body: { content: "ping" }, remainingMs: 7_000 });
      expect(verdict(answer)).toEqual([504, "MESSAGE_SEND_FAILED"]);
      expect(answer.body.details).toMatchObject({ outcome: "unknown", turnId: expect.any(String) });
      await wire.heal();

      // As after the lease: until then the sender may be alive.
      await world.db
        .collection("chats")
        .updateOne(
          { chat_id: request.chatId, "internal.turn": { $exists: true } },
          { $set: { "internal.turn.at": new Date(Date.now() - 60_000) } },
        );
      const { body } = await (await anInstance()).call("transcript", request);
      expect(body.data.messages.map(({ role, delivery }: Record<string, string>) => [role, delivery])).toEqual([
        ["agent", undefined],
        ["user", undefined],
        ["agent", undefined],
      ]);
      expect(await heard(request.chatId)).toEqual(["ping"]);
    },
  );
});

describe("a message that Mongo has not taken in time", () => {
  it.each(["hang", "mute"] as const)("is never sent to Retell (%s): 503, and the chat is free", async (how) => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world) };
    onNth("findAndModify chats", 1, how);
    const answer = await ask(instance, "message", { ...request, body: { content: "ping" } });
    expect(outcome(answer)).toEqual(unreachable);
    expect(await heard(request.chatId)).toEqual([]);

    await wire.heal();
    expect(outcome(await ask(instance, "message", { ...request, body: { content: "again" } }))).toEqual(fine);
    expect(await heard(request.chatId)).toEqual(["again"]);
  });
});

describe("a create whose key Mongo has not taken in time", () => {
  it.each(["hang", "mute"] as const)("is never sent to Retell (%s): 503, and the key is free", async (how) => {
    const world = await aWorld();
    const instance = await anInstance();
    await instance.call("list", owned(world));
    onNth("findAndModify chatrequests", 1, how);
    const request = { ...owned(world), body: { agentId: world.agentId }, headers: aKey() };
    expect(outcome(await ask(instance, "create", request))).toEqual(unreachable);
    expect(await atRetell(world)).toEqual([]);

    await wire.heal();
    const again = await ask(instance, "create", request);
    expect([...outcome(again), again.headers["idempotent-replayed"]]).toEqual([...fine, undefined]);
    expect(await atRetell(world)).toHaveLength(1);
  });
});

describe("a chat that Mongo does not take", () => {
  it.each(["hang", "mute", "cut"] as const)("is ended at Retell (%s)", async (how) => {
    const world = await aWorld();
    const instance = await anInstance();
    await instance.call("list", owned(world));
    onNth("insert chats", 1, how, "hang");
    const answer = await ask(instance, "create", { ...owned(world), body: { agentId: world.agentId } });
    expect(outcome(answer)).toEqual(unreachable);
    const [chat] = await atRetell(world);
    expect(chat?.status).toBe("ended");
    await wire.heal();

    // If Mongo has it after all, the next read finds it ended.
    if (how === "mute") {
      const { body } = await (await anInstance()).call("transcript", { ...owned(world), chatId: chat?.chat_id ?? "" });
      expect(body.data.chat_status).toBe("ended");
    } else expect(await world.db.collection("chats").countDocuments()).toBe(0);
  });

  it.each([
    ["mute", "that has been stored all the same"],
    ["hang", "that may be stored later"],
  ] as const)("goes on for its key (%s), also one %s: the repeat is given it", async (how, _what) => {
    const world = await aWorld();
    const instance = await anInstance();
    await instance.call("list", owned(world));
    onNth("insert chats", 1, how);
    const request = { ...owned(world), body: { agentId: world.agentId }, headers: aKey() };
    expect(outcome(await ask(instance, "create", request))).toEqual(unreachable);
    await wire.quiet();
    const at = new Date(Date.now() - 41_000);
    await world.db.collection("chatrequests").updateOne({}, { $set: { at } });
    const again = await instance.call("create", request);
    expect([...verdict(again), again.headers["idempotent-replayed"]]).toEqual([200, undefined, "true"]);
    expect(await atRetell(world)).toMatchObject([{ chat_id: again.body.data.chat_id, status: "ongoing" }]);
    expect((await instance.call("create", request)).body.data).toEqual(again.body.data);
  });

  it("and that Retell does not end is an ERROR in the log, with its id", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    await instance.call("list", owned(world));
    onNth("insert chats", 1, "hang", "hang");
    wire.retell.treat = (what) => (what.includes("end-chat") ? "cut" : "pass");
    const answer = await ask(instance, "create", { ...owned(world), body: { agentId: world.agentId } });
    expect(outcome(answer)).toEqual(unreachable);
    const [chat] = await atRetell(world);
    expect(logOf(answer, "ERROR")).toContainEqual(expect.objectContaining({ chatId: chat?.chat_id }));
  });
});
