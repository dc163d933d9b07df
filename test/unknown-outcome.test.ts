import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { heard, stored } from "./support/chats.ts";
import { tlsInFrontOf } from "./support/tls.ts";
import { aChatBy, anInstance, aWire, type Instance, logOf, owned, verdict } from "./support/wire.ts";
import { aWorld, control, fault, type Name, type Request, type Response, type World } from "./support/world.ts";

const wire = await aWire();
afterEach(() => wire.heal());

const shown = ({ body }: Response): [string, string | undefined][] =>
  body.data.messages.map(({ role, delivery }: Record<string, string>) => [role, delivery]);

/** Mongo closes the connection on a command, from the nth time that it comes. */
function cutFrom(command: string, nth: number): void {
  let seen = 0;
  wire.mongo.treat = (what) => (what === command && ++seen >= nth ? "cut" : "pass");
}

/** Moves the turn back beyond its lease, within which the sender may be alive. */
const outliveLease = (world: World, chatId: string) =>
  world.db
    .collection("chats")
    .updateOne(
      { chat_id: chatId, "internal.turn": { $exists: true } },
      { $set: { "internal.turn.at": new Date(Date.now() - 60_000) } },
    );

async function aRequest(): Promise<{ world: World; instance: Instance; request: Request & { chatId: string } }> {
  const world = await aWorld();
  const instance = await anInstance();
  const chatId = await aChatBy(instance, world);
  return { world, instance, request: { ...owned(world), chatId, body: { content: "ping" } } };
}

describe("a send whose answer was lost", () => {
  it("because TLS broke after Retell had it, is looked up at once, and no repeat with its key sends it again", async () => {
    const front = await tlsInFrontOf(process.env.RETELL_BASE_URL ?? "");
    onTestFinished(front.stop);
    const world = await aWorld();
    const instance = await anInstance({ RETELL_BASE_URL: front.url });
    const chatId = await aChatBy(instance, world);
    const headers = { "idempotency-key": "once" };
    const send = () => instance.call("message", { ...owned(world), chatId, headers, body: { content: "ping" } });

    front.breakAnswersTo("/create-chat-completion");
    const answer = await send();
    front.breakAnswersTo(undefined);
    const again = await send();
    expect([verdict(answer), again.headers["idempotent-replayed"]]).toEqual([[200, undefined], "true"]);
    expect(await heard(chatId)).toEqual(["ping"]);
  });

  it.each([
    ["marked", "update chats", 1],
    ["looked up", "aggregate chats", 1],
    ["settled", "findAndModify chats", 2],
  ])("and that Mongo does not let be %s, is a 504 unknown; the next read has it, once", async (_what, command, nth) => {
    const { world, instance, request } = await aRequest();
    await fault(world, "completion", { kind: "drop", effect: "before" });
    cutFrom(command, nth);
    const answer = await instance.call("message", request);
    expect(verdict(answer)).toEqual([504, "MESSAGE_SEND_FAILED"]);
    expect(answer.body.details).toMatchObject({ outcome: "unknown", turnId: expect.any(String) });

    await wire.heal();
    await outliveLease(world, request.chatId);
    const read = await instance.call("transcript", request);
    expect(shown(read)).toEqual([
      ["agent", undefined],
      ["user", undefined],
      ["agent", undefined],
    ]);
    expect(await heard(request.chatId)).toEqual(["ping"]);
  });
});

describe("a send that was not made", () => {
  it.each([429, 401])("is 503 (%i), and its outcome unknown while the history has not confirmed it", async (status) => {
    const { world, instance, request } = await aRequest();
    await fault(world, "completion", { kind: "status", status });
    cutFrom("update chats", 1);
    const answer = await instance.call("message", request);
    expect([answer.status, answer.body.details.outcome]).toEqual([503, "unknown"]);

    expect(await heard(request.chatId)).toEqual([]);
  });

  it("leaves the chat free, if Mongo has stored it without an answer: it is shown as failed", async () => {
    const { instance, request } = await aRequest();
    let isFirst = true;
    wire.mongo.treat = (what) => {
      if (what !== "findAndModify chats" || !isFirst) return "pass";
      isFirst = false;
      return "mute";
    };
    const headers = { "idempotency-key": crypto.randomUUID() };
    expect(verdict(await instance.call("message", { ...request, headers }))).toEqual([503, "CONNECTION_FAILED"]);

    // The turn is cancelled beside the answer.
    await expect
      .poll(async () => shown(await instance.call("transcript", request)).slice(1))
      .toEqual([["user", "failed"]]);
    const again = await instance.call("message", { ...request, headers });
    expect([...verdict(again), again.headers["idempotent-replayed"]]).toEqual([200, undefined, undefined]);
    expect(shown(await instance.call("transcript", request))).toEqual([
      ["agent", undefined],
      ["user", undefined],
      ["agent", undefined],
    ]);
    expect(await heard(request.chatId)).toEqual(["ping"]);
  });
});

describe("a reply that is stored", () => {
  it.each([
    ["the chat be looked up", "aggregate chats", 1],
    ["its end be stored", "findAndModify chats", 3],
  ])("is answered even if the agent ended the chat and Mongo does not let %s", async (_what, command, nth) => {
    const { instance, request } = await aRequest();
    cutFrom(command, nth);
    const answer = await instance.call("message", { ...request, body: { content: "goodbye" } });
    expect(verdict(answer)).toEqual([200, undefined]);
    expect([answer.body.data.chat_status, answer.body.data.messages.length]).toEqual(["ended", 1]);
    expect(logOf(answer, "WARN")).toHaveLength(1);

    await wire.heal();
    const { body } = await instance.call("transcript", request);
    expect(body.data).toMatchObject({ chat_status: "ended", message_count: 3, end_timestamp: expect.any(Number) });
  });
});

describe("a keyed reply after which the agent ended the chat", () => {
  it("is told of the end only what a repeat is told, too", async () => {
    const { instance, request } = await aRequest();
    const headers = { "idempotency-key": crypto.randomUUID() };
    const send = () => instance.call("message", { ...request, headers, body: { content: "goodbye" } });
    cutFrom("findAndModify chats", 3); // the end cannot be stored
    const first = await send();
    expect([...verdict(first), first.body.details?.outcome]).toEqual([504, "MESSAGE_SEND_FAILED", "unknown"]);

    await wire.heal();
    const again = await send();
    expect([again.headers["idempotent-replayed"], again.body.data?.chat_status]).toEqual(["true", "ongoing"]);
    expect((await send()).body.data).toEqual(again.body.data);
    const { body } = await instance.call("transcript", request);
    expect(body.data.chat_status).toBe("ended");
    expect((await send()).body.data).toEqual(again.body.data);
  });

  it("is told the same again while the first request is still finding out", async () => {
    const { world, instance, request } = await aRequest();
    const headers = { "idempotency-key": crypto.randomUUID() };
    const send = () => instance.call("message", { ...request, headers, body: { content: "goodbye" } });
    await fault(world, "retrieve", { kind: "latency", ms: 2_000 });
    const first = send();
    await expect
      .poll(() => stored(world, request.chatId), { timeout: 10_000 })
      .toMatchObject({ internal: { retellUserCount: 1 } });
    const again = await send();
    expect((await first).body.data.chat_status).toBe("ended");
    expect(again.body.data).toEqual((await first).body.data);
  });

  it.each<[string, string, (world: World, chatId: string) => Promise<unknown>]>([
    ["Retell could not be read then", "goodbye", async () => {}],
    [
      "it was ended at Retell since",
      "order 1042",
      (_world, chatId) => control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" }),
    ],
    [
      "the agent ended it in the turn of somebody else",
      "silence",
      (_world, chatId) => control("retell", "POST", `/chats/${chatId}`, { content: "goodbye" }),
    ],
  ])("that was told of no end is told of none again: %s", async (_what, content, change) => {
    const { world, instance, request } = await aRequest();
    const headers = { "idempotency-key": crypto.randomUUID() };
    const send = () => instance.call("message", { ...request, headers, body: { content } });
    if (content === "goodbye") await fault(world, "retrieve", { kind: "status", status: 503 });
    const first = await send();
    expect([...verdict(first), first.body.data?.chat_status]).toEqual([200, undefined, "ongoing"]);
    await change(world, request.chatId);
    expect((await send()).body.data).toEqual(first.body.data);
    await instance.call("transcript", { ...request, query: { consistency: "strong" } });
    expect((await send()).body.data).toEqual(first.body.data);
  });

  it("keeps what was told when the next turn ends the chat before its own status is read", async () => {
    const { world, instance, request } = await aRequest();
    const send = (content: string) =>
      instance.call("message", { ...request, headers: { "idempotency-key": content.slice(0, 5) }, body: { content } });
    await fault(world, "retrieve", { kind: "latency", ms: 2_500 });
    const slow = send("order 1042");
    await expect
      .poll(() => stored(world, request.chatId), { timeout: 10_000 })
      .toMatchObject({ internal: { retellUserCount: 1 } });
    const last = await send("goodbye");
    expect([last.body.data.chat_status, (await slow).status]).toEqual(["ended", 200]);
    expect((await send("order 1042")).body.data).toEqual((await slow).body.data);
    expect((await send("goodbye")).body.data).toEqual(last.body.data);
  });

  it("is told the same again when a webhook stored the end first", async () => {
    const { instance, request } = await aRequest();
    const headers = { "idempotency-key": crypto.randomUUID() };
    const send = () => instance.call("message", { ...request, headers, body: { content: "goodbye" } });
    let isOther = false;
    wire.mongo.treat = (what) => {
      // Between FINISH and the close by the sender, the read of another request closes the chat.
      if (what === "aggregate chats" && !isOther) {
        isOther = true;
        void instance.call("transcript", request);
      }
      return "pass";
    };
    const first = await send();
    expect([...verdict(first), first.body.data.chat_status]).toEqual([200, undefined, "ended"]);
    expect((await send()).body.data).toEqual(first.body.data);
  });
});

describe("a request that runs out of time", () => {
  it.each<[Name, string]>([
    ["create", "find chatagents"],
    ["message", "findAndModify chats"],
    ["end", "aggregate chats"],
  ])("says that its outcome is unknown when it may have changed something: %s", async (name, command) => {
    const { world, instance, request } = await aRequest();
    wire.mongo.treat = (what) => (what === command ? "hang" : "pass");
    const body = name === "create" ? { agentId: world.agentId } : request.body;
    const answer = await instance.call(name, { ...request, body, remainingMs: 2_400 });
    expect([...verdict(answer), answer.body.details]).toEqual([504, "TIMEOUT", { outcome: "unknown" }]);
  });

  it.each<[Name, string]>([
    ["list", "find chats"],
    ["transcript", "aggregate chats"],
  ])("says nothing of an outcome when it only reads: %s", async (name, command) => {
    const { instance, request } = await aRequest();
    wire.mongo.treat = (what) => (what === command ? "hang" : "pass");
    const answer = await instance.call(name, { ...request, query: { limit: "7" }, remainingMs: 2_400 });
    expect([...verdict(answer), answer.body.details]).toEqual([504, "TIMEOUT", undefined]);
  });
});
