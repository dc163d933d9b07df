import { describe, expect, it } from "vitest";
import { aRetellBetween } from "./support/between.ts";
import { end, read, send } from "./support/chats.ts";
import { aChat, aWorld, control, fault, type Response, type World } from "./support/world.ts";

const retell = await aRetellBetween();

const shown = ({ body }: Response): [string, string | undefined][] =>
  body.data.messages.map(({ content, delivery }: Record<string, string>) => [content, delivery]);

/** Two requests that meet at Retell: an end that has read the idle chat, and a send that begins right after. */
async function endBesideSend(world: World, chatId: string, meet: { endGoes: string; sendGoes: string }) {
  const moments: Record<string, PromiseWithResolvers<void>> = {};
  const moment = (name: string) => {
    moments[name] ??= Promise.withResolvers<void>();
    return moments[name];
  };
  const pass = async (name: string) => {
    moment(name).resolve();
    if (name === meet.sendGoes) await moment("end answered").promise;
  };

  let sending: Promise<Response> | undefined;
  retell.before = async (path) => {
    if (path.startsWith("/end-chat/")) {
      sending = send(world, chatId, "slips in");
      void sending.then(() => moment("send answered").resolve());
      await moment(meet.endGoes).promise;
    }
    if (path === "/create-chat-completion") await pass("completion called");
  };
  retell.after = async (path) => {
    if (path === "/create-chat-completion") await pass("completion done");
  };
  const ended = await end(world, chatId);
  const meanwhile = [await read(world, chatId), await read(world, chatId)];
  moment("end answered").resolve();
  return { ended, meanwhile, sent: await sending };
}

describe("an end beside a send that began after the end had looked", () => {
  it("is told as ended, and a send that comes to Retell after it is refused: 409 CHAT_ENDED", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const order = { endGoes: "completion called", sendGoes: "completion called" };
    const { ended, sent } = await endBesideSend(world, chatId, order);
    expect(ended.body.data).toEqual({
      chat_id: chatId,
      chat_status: "ended",
      end_timestamp: (await control("retell", "GET", `/chats/${chatId}`)).end_timestamp,
    });
    expect([sent?.status, sent?.body.code]).toEqual([409, "CHAT_ENDED"]);
    expect(shown(await read(world, chatId)).slice(1)).toEqual([["slips in", "failed"]]);
    expect((await end(world, chatId)).body.data).toEqual(ended.body.data);
  });

  it("is told as ended, and a send whose reply came before it has the reply, and says that the chat is over", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const order = { endGoes: "completion done", sendGoes: "completion done" };
    const { ended, sent } = await endBesideSend(world, chatId, order);
    expect(ended.body.data).toMatchObject({ chat_status: "ended", end_timestamp: expect.any(Number) });
    expect([sent?.status, sent?.body.data?.chat_status, sent?.body.data?.messages.length]).toEqual([200, "ended", 1]);

    const [chat] = await world.db.collection("chats").find().toArray();
    expect((chat?.internal.nextSweepAt - Date.now()) / 1_000).toBeCloseTo(60, -1); // for what Retell tells after the end
    const answer = await read(world, chatId);
    const reply = sent?.body.data.messages[0].content;
    expect(shown(answer).slice(1)).toEqual([
      ["slips in", undefined],
      [reply, undefined],
    ]);
    expect(answer.body.data.transcript.endsWith(`\nUser: slips in\nAgent: ${reply}\n`)).toBe(true);
  });

  it("is told as ended when the send was answered before it", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const { ended, sent } = await endBesideSend(world, chatId, { endGoes: "send answered", sendGoes: "nowhere" });
    expect([sent?.status, sent?.body.data?.chat_status]).toEqual([200, "ongoing"]);
    expect(ended.body.data).toMatchObject({ chat_status: "ended", end_timestamp: expect.any(Number) });
    expect(shown(await read(world, chatId))).toHaveLength(3);
  });

  it("leaves a chat that is shown as over and pending, from no cache, until the send is answered", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const order = { endGoes: "completion done", sendGoes: "completion done" };
    const { meanwhile } = await endBesideSend(world, chatId, order);
    for (const { body } of meanwhile) {
      expect([body.data.chat_status, body.meta.cached]).toEqual(["ended", false]);
      expect(body.data.messages.at(-1)).toMatchObject({ content: "slips in", delivery: "pending" });
    }
    expect((await read(world, chatId)).body.meta.cached).toBe(false);
    expect((await read(world, chatId)).body.meta.cached).toBe(true);
  });
});

describe("an end that knows no more than that Retell has ended the chat", () => {
  /** A send whose answer is lost, though Retell has it: its turn is open, its outcome unknown. */
  async function aLostAnswer(world: World, chatId: string): Promise<void> {
    await fault(world, "completion", { kind: "drop", effect: "before" });
    await fault(world, "retrieve", { kind: "drop" });
    expect((await send(world, chatId, "lost?")).body.details.outcome).toBe("unknown");
  }

  it.each<[string, (world: World) => Promise<unknown> | undefined]>([
    ["cannot be read", (world) => fault(world, "retrieve", { kind: "drop" })],
    ["is read as it was before the send", () => void lag()],
  ])("because it %s, decides no open turn: the next read does, by Retell's history", async (_why, strike) => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await aLostAnswer(world, chatId);
    await strike(world);
    const { status, body } = await end(world, chatId);
    expect([status, body.data]).toEqual([200, expect.objectContaining({ chat_status: "ended" })]);
    expect(body.data.end_timestamp).toEqual(expect.any(Number));

    retell.heal();
    const answer = await read(world, chatId);
    expect(shown(answer).slice(1)).toEqual([
      ["lost?", undefined],
      [expect.any(String), undefined],
    ]);
    expect([answer.body.data.chat_status, answer.body.data.message_count]).toEqual(["ended", 3]);
    expect((await end(world, chatId)).body.data).toEqual(body.data);
  });

  function lag(): void {
    retell.after = (path, answer) => {
      if (!path.startsWith("/get-chat/")) return;
      const message_with_tool_calls = answer.message_with_tool_calls.slice(0, 1);
      Object.assign(answer, { chat_status: "ongoing", end_timestamp: undefined, message_with_tool_calls });
    };
  }
});
