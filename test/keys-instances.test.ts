import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { aChatBy, anInstance, aWire, type Instance, owned, verdict } from "./support/wire.ts";
import { aMembership, aUser, aWorld, control, fault, type Response, type World } from "./support/world.ts";

const wire = await aWire();
let one: Instance;
let other: Instance;
beforeEach(async () => {
  [one, other] = [await anInstance(), await anInstance()];
});
afterEach(() => wire.heal());

interface Asked {
  by?: Instance;
  chatId?: string;
  token?: string;
  content?: string;
}

const headers = { "idempotency-key": "the-key" };
const send = (world: World, chatId: string, { by = one, content = "ping", ...more }: Asked = {}) =>
  by.call("message", { ...owned(world), chatId, body: { content }, headers, ...more });
const create = (world: World, { by = one, ...more }: Asked = {}) =>
  by.call("create", { ...owned(world), body: { agentId: world.agentId }, headers, ...more });

const userEntries = async (chatId: string): Promise<unknown[]> =>
  (await control("retell", "GET", `/chats/${chatId}`)).entries.filter(
    (entry: { role: string }) => entry.role === "user",
  );
const chatsAtRetell = async (world: World) => (await control("retell", "GET", `/chats?key=${world.apiKey}`)).chats;
const isReplay = ({ headers }: Response) => headers["idempotent-replayed"] === "true";

/** Repeats a request until its answer does not ask to try again. */
async function insist(ask: () => Promise<Response>): Promise<Response> {
  let answer = await ask();
  while (answer.status === 409) answer = await ask();
  return answer;
}

describe("one Idempotency-Key, at the same instant on two instances", () => {
  const both = (ask: (by: Instance) => Promise<Response>) =>
    Promise.all([one, other, one, other].map((by) => insist(() => ask(by))));

  it("sends one message, and both get its answer", async () => {
    const world = await aWorld();
    const chatId = await aChatBy(one, world);
    const answers = await both((by) => send(world, chatId, { by }));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(answers.filter((answer) => !isReplay(answer))).toHaveLength(1);
    for (const { body } of answers) expect(body.data).toEqual(answers[0]?.body.data);
    expect(await userEntries(chatId)).toHaveLength(1);
  });

  it("creates one chat, and both get it", async () => {
    const world = await aWorld();
    const answers = await both((by) => create(world, { by }));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(answers.filter((answer) => !isReplay(answer))).toHaveLength(1);
    for (const { body } of answers) expect(body.data).toEqual(answers[0]?.body.data);
    expect(await chatsAtRetell(world)).toHaveLength(1);
  });

  it("sends nothing a second time though the first was answered with an error", async () => {
    const world = await aWorld();
    const chatId = await aChatBy(one, world);
    await fault(world, "completion", { kind: "drop", effect: "before" });
    expect((await both((by) => send(world, chatId, { by }))).map(({ status }) => status)).toEqual(Array(4).fill(200));
    expect(await userEntries(chatId)).toHaveLength(1);
  });
});

describe("an Idempotency-Key while Redis is away", () => {
  it.each(["drop", "slow", "garbage"] as const)("(%s) holds all the same: it is kept in Mongo", async (kind) => {
    const world = await aWorld();
    const chatId = await aChatBy(one, world);
    await wire.redisFault(kind, 2_000);
    const sent = [await send(world, chatId), await send(world, chatId, { by: other })];
    const created = [await create(world), await create(world, { by: other })];
    for (const [first, second] of [sent, created]) {
      expect([first?.status, second?.status]).toEqual([200, 200]);
      expect(second?.body.data).toEqual(first?.body.data);
      expect([first, second].map((answer) => answer && isReplay(answer))).toEqual([false, true]);
    }
    expect(await userEntries(chatId)).toHaveLength(1);
    expect(await chatsAtRetell(world)).toHaveLength(2); // the chat before, and one more
  });
});

describe("the same Idempotency-Key", () => {
  it("is another one for another chat, user, tenant and method", async () => {
    const [world, neighbour] = [await aWorld(), await aWorld()];
    const colleague = await aUser();
    await aMembership(world.subaccountId, colleague.id, ["write"]);
    await aMembership(neighbour.subaccountId, world.owner.id, ["write"]);
    const [left, right] = [await aChatBy(one, world), await aChatBy(one, world)];
    const theirs = await aChatBy(one, neighbour);
    const answers = [
      await create(world),
      await create(world, { token: colleague.token }),
      await create(neighbour, { token: world.owner.token }),
      await send(world, left),
      await send(world, right),
      await send(world, left, { token: colleague.token }),
      await send(neighbour, theirs, { token: world.owner.token }),
    ];
    expect(answers.map((answer) => [answer.status, isReplay(answer)])).toEqual(Array(7).fill([200, false]));
  });

  it("with another body is refused by every instance: 422", async () => {
    const world = await aWorld();
    const chatId = await aChatBy(one, world);
    await send(world, chatId);
    const refused = await send(world, chatId, { by: other, content: "pong" });
    expect(verdict(refused)).toEqual([422, "IDEMPOTENCY_KEY_REUSED"]);
    expect(await userEntries(chatId)).toHaveLength(1);
  });
});

describe("what an Idempotency-Key may be", () => {
  it.each(["!", "~", "x".repeat(255)])("visible ASCII, 1 to 255 of it: %j", async (key) => {
    const world = await aWorld();
    const chatId = await aChatBy(one, world);
    const ask = () =>
      one.call("message", { ...owned(world), chatId, body: { content: "ping" }, headers: { "idempotency-key": key } });
    expect([isReplay(await ask()), isReplay(await ask())]).toEqual([false, true]);
  });

  it.each(["", "x".repeat(256), "a b", "ä", "\t", "\u007f"])("not %j: 400 on every POST", async (key) => {
    const world = await aWorld();
    const chatId = await aChatBy(one, world);
    for (const [name, body] of [
      ["create", { agentId: world.agentId }],
      ["message", { content: "ping" }],
      ["end", undefined],
    ] as const) {
      const refused = await one.call(name, { ...owned(world), chatId, body, headers: { "idempotency-key": key } });
      expect(verdict(refused)).toEqual([400, "VALIDATION_ERROR"]);
      expect(refused.body.errors).toEqual([{ field: "idempotency-key", in: "header", message: expect.any(String) }]);
    }
    expect(await userEntries(chatId)).toHaveLength(0);
  });

  it("anything on a GET, which ignores it", async () => {
    const world = await aWorld();
    const chatId = await aChatBy(one, world);
    for (const name of ["list", "transcript"] as const) {
      const request = { ...owned(world), chatId, headers: { "idempotency-key": "a b" } };
      const answers = [await one.call(name, request), await one.call(name, request)];
      expect(answers.map((answer) => [answer.status, isReplay(answer)])).toEqual(Array(2).fill([200, false]));
    }
  });
});
