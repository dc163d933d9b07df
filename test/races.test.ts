import { afterEach, describe, expect, it } from "vitest";
import { aRetellBetween } from "./support/between.ts";
import { aChat, aWorld, call, control, fault, type Response, type World } from "./support/world.ts";

const retell = await aRetellBetween();
afterEach(() => retell.heal());

const at = ({ owner, subaccountId }: World, chatId: string) => ({ token: owner.token, subaccountId, chatId });
const send = (world: World, chatId: string, content: string) =>
  call("message", { ...at(world, chatId), body: { content } });
const read = (world: World, chatId: string) => call("transcript", at(world, chatId));
const stored = (world: World, chatId: string) => world.db.collection("chats").findOne({ chat_id: chatId });
const atRetell = async (chatId: string): Promise<string[]> =>
  (await control("retell", "GET", `/chats/${chatId}`)).entries.map(({ content }: { content: string }) => content);
const contents = ({ body }: Response): string[] =>
  body.data.messages.map(({ content }: Record<string, string>) => content);

/** As if the open turn had begun that much earlier. */
const age = (world: World, chatId: string, ms: number) =>
  world.db
    .collection("chats")
    .updateOne({ chat_id: chatId }, { $set: { "internal.turn.at": new Date(Date.now() - ms) } });

/** A place where calls are held up, one after the other: the first is number 0. */
function aGate() {
  const moments: { reached: PromiseWithResolvers<void>; open: PromiseWithResolvers<void> }[] = [];
  let passed = 0;
  const moment = (number: number) => {
    moments[number] ??= { reached: Promise.withResolvers(), open: Promise.withResolvers() };
    return moments[number];
  };
  return {
    async pass(): Promise<void> {
      const { reached, open } = moment(passed++);
      reached.resolve();
      await open.promise;
    },
    reached: (number: number) => moment(number).reached.promise,
    open: (number: number) => moment(number).open.resolve(),
  };
}

describe("a history that two have read at once", () => {
  it("is merged once", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const add = [
      { role: "user", content: "from the dashboard" },
      { role: "agent", content: "noted" },
    ];
    await control("retell", "PATCH", `/chats/${chatId}`, { add });
    const gate = aGate();
    for (const reader of [0, 1]) void gate.reached(1).then(() => gate.open(reader));
    retell.after = (path) => (path.startsWith("/get-chat/") ? gate.pass() : undefined);
    for (const later of [2, 3, 4, 5]) gate.open(later);

    const answers = await Promise.all([read(world, chatId), read(world, chatId)]);
    const history = await atRetell(chatId);
    expect(history).toHaveLength(3);
    expect(answers.map(contents)).toEqual([history, history]);
    expect((await stored(world, chatId))?.messages).toHaveLength(3);
  });
});

describe("a sender whose turn somebody else has settled meanwhile", () => {
  it("is told what is stored of it, and takes nothing from the turn that is open now", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const gate = aGate();
    retell.after = (path) => (path === "/create-chat-completion" ? gate.pass() : undefined);
    const first = send(world, chatId, "one");
    await gate.reached(0);
    await age(world, chatId, 60_000);
    const settled = contents(await read(world, chatId));
    const second = send(world, chatId, "two");
    await gate.reached(1);

    gate.open(0);
    expect([...settled.slice(0, 1), "one", ...contents(await first)]).toEqual(settled);
    expect((await stored(world, chatId))?.internal.turn?.state).toBe("sending");
    gate.open(1);
    expect((await second).status).toBe(200);
    expect(contents(await read(world, chatId))).toEqual(await atRetell(chatId));
  });

  it("and is refused at last, fails no turn but its own", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "status", status: 429 });
    const gate = aGate();
    retell.before = (path) => (path === "/create-chat-completion" ? gate.pass() : undefined);
    const first = send(world, chatId, "one");
    await gate.reached(0);
    await age(world, chatId, 331_000);
    await read(world, chatId);
    const second = send(world, chatId, "two");
    await gate.reached(1);

    gate.open(0);
    expect((await first).status).toBe(503);
    expect((await stored(world, chatId))?.internal.turn?.state).toBe("sending");
    gate.open(1);
    expect((await second).status).toBe(200);
    const chat = await stored(world, chatId);
    expect(chat?.messages.map(({ internal }: { internal?: { failed?: true } }) => internal?.failed)).toEqual([
      undefined,
      true,
      undefined,
      undefined,
    ]);
  });
});
