import { ObjectId } from "mongodb";
import { afterEach, describe, expect, it, vi } from "vitest";
import { handler as sweep } from "../functions/sweep.ts";
import { aRetellBetween } from "./support/between.ts";
import { at, read, send, stored } from "./support/chats.ts";
import { aChat, aWorld, call, central, control, fault, type Response, type World } from "./support/world.ts";

const retell = await aRetellBetween();
afterEach(async () => {
  vi.useRealTimers();
  await central.collection("subaccounts").deleteMany({}); // no later sweep looks at them
});

const atRetell = async (chatId: string): Promise<string[]> =>
  (await control("retell", "GET", `/chats/${chatId}`)).entries.map(({ content }: { content: string }) => content);
const contents = ({ body }: Response): string[] =>
  body.data.messages.map(({ content }: Record<string, string>) => content);

/** As if the open turn had begun that much earlier. */
const age = (world: World, chatId: string, ms: number) =>
  world.db
    .collection("chats")
    .updateOne({ chat_id: chatId }, { $set: { "internal.turn.at": new Date(Date.now() - ms) } });

/** Holds back calls, and numbers them from 0 in the order in which they come. */
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
    const world = await aWorld({ agentId: "agent_bare_plain" }); // no ids tell that the reply is stored already
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
    await fault(world, "completion", { kind: "status", status: 401 });
    const gate = aGate();
    retell.before = (path) => (path === "/create-chat-completion" ? gate.pass() : undefined);
    const first = send(world, chatId, "one");
    await gate.reached(0);
    await age(world, chatId, 331_000);
    await read(world, chatId);
    const second = send(world, chatId, "two");
    await gate.reached(1);

    // The key was refused, and there is no other: it was surely not sent.
    const account = { subaccountId: new ObjectId(world.subaccountId) };
    await central.collection("retellaccounts").updateOne(account, { $set: { isActive: false } });
    gate.open(0);
    expect((await first).body.code).toBe("RETELL_ACCOUNT_INACTIVE");
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

describe("a create that was stopped for longer than its lease", () => {
  const create = (world: World, key = "k1") =>
    call("create", {
      token: world.owner.token,
      subaccountId: world.subaccountId,
      body: { agentId: world.agentId },
      headers: { "idempotency-key": key },
    });
  const begun = async (world: World) => (await control("retell", "GET", `/chats?key=${world.apiKey}`)).chats;
  const ageKey = (world: World, ms: number) =>
    world.db.collection("chatrequests").updateOne({}, { $set: { at: new Date(Date.now() - ms) } });
  const listed = async ({ owner, subaccountId }: World): Promise<string[]> =>
    (await call("list", { token: owner.token, subaccountId })).body.data.map(
      ({ chat_id }: { chat_id: string }) => chat_id,
    );

  it("ends no chat that its repeat has taken over, and answers that one", async () => {
    const world = await aWorld();
    const gate = aGate();
    retell.after = (path) => (path === "/create-chat" ? gate.pass() : undefined);
    const first = create(world);
    await gate.reached(0);
    await ageKey(world, 41_000);
    const repeat = await create(world);
    expect(repeat.status).toBe(200);

    gate.open(0);
    expect((await first).body.data).toEqual(repeat.body.data);
    expect(await begun(world)).toMatchObject([{ chat_id: repeat.body.data.chat_id, status: "ongoing" }]);
    expect(await world.db.collection("chats").countDocuments()).toBe(1);
  });

  it("answers the chat that its repeat has created, and ends its own", async () => {
    const world = await aWorld();
    const gate = aGate();
    retell.before = (path) => (path === "/create-chat" ? gate.pass() : undefined);
    const first = create(world);
    await gate.reached(0);
    await ageKey(world, 331_000);
    gate.open(1);
    const repeat = await create(world);
    expect(repeat.status).toBe(200);

    gate.open(0);
    expect((await first).body.data).toEqual(repeat.body.data);
    const statuses = new Map((await begun(world)).map((chat: Record<string, string>) => [chat.chat_id, chat.status]));
    expect([...statuses.values()].sort()).toEqual(["ended", "ongoing"]);
    expect(statuses.get(repeat.body.data.chat_id)).toBe("ongoing");
    expect(await listed(world)).toEqual([repeat.body.data.chat_id]);
  });

  it("and finds that its chat was given up meanwhile, answers 404, as its key does from then on", async () => {
    const world = await aWorld();
    const gate = aGate();
    retell.after = (path) => (path === "/create-chat" ? gate.pass() : undefined);
    const first = create(world);
    await gate.reached(0);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 11 * 60_000 });
    expect(await sweep()).toMatchObject({ orphansEnded: 1 });
    vi.useRealTimers();
    gate.open(0);
    expect((await first).body.code).toBe("CHAT_NOT_FOUND");
    await ageKey(world, 331_000);
    expect((await create(world)).body.code).toBe("CHAT_NOT_FOUND");
    expect(await begun(world)).toMatchObject([{ status: "ended" }]);
  });

  it("ends nothing when its chat cannot be stored: it does not know whether a repeat has handed it out", async () => {
    const world = await aWorld();
    await world.db.command({ collMod: "chats", validator: { never: { $exists: true } } });
    retell.after = (path) => {
      if (path === "/create-chat") vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60_000 });
    };
    expect((await create(world)).status).toBe(500);
    expect(await begun(world)).toMatchObject([{ status: "ongoing" }]);
  });

  it("leaves a chat that is an orphan or its repeat's, never both: who claims it first has it", async () => {
    const world = await aWorld();
    const gate = aGate();
    for (const key of ["k1", "k2"]) {
      await fault(world, "create", { kind: "drop", effect: "before" });
      expect((await create(world, key)).status).toBe(504);
    }
    retell.before = (path) => (path.startsWith("/end-chat/") ? gate.pass() : undefined);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 11 * 60_000 });
    const swept = sweep(); // it has read which chats are stored: neither is
    await gate.reached(0);
    vi.useRealTimers();
    const answers = [await create(world, "k1"), await create(world, "k2")];
    const [taken] = answers.filter(({ status }) => status === 200);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 404]);
    gate.open(0);
    gate.open(1);
    expect(await swept).toMatchObject({ orphansEnded: 1, failed: 0 });
    const chatId = taken?.body.data.chat_id;
    expect((await begun(world)).filter(({ status }: { status: string }) => status === "ongoing")).toMatchObject([
      { chat_id: chatId },
    ]);
    expect((await call("message", { ...at(world, chatId), body: { content: "ping" } })).status).toBe(200);
  });
});
