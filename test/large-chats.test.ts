import { describe, expect, it } from "vitest";
import { aChat, aWorld, call, control, type Response, type World } from "./support/world.ts";

const world = await aWorld();

const at = ({ owner, subaccountId }: World, chatId: string) => ({ token: owner.token, subaccountId, chatId });
const end = (chatId: string) => call("end", at(world, chatId));
const read = (chatId: string, query: Record<string, string> = {}) =>
  call("transcript", { ...at(world, chatId), query });

type Shown = { role: string; content: string; seq: number; tool_call_id?: string };
const shown = ({ body }: Response): Shown[] => body.data.messages;

/** All pages of a transcript; none of them is more than Lambda lets through. */
async function pages(chatId: string, query: Record<string, string> = {}): Promise<Response[]> {
  const answers: Response[] = [];
  let after: string | undefined;
  do {
    const answer = await read(chatId, { ...query, ...(after ? { after_seq: after } : {}) });
    expect(answer.lambdaBytes).toBeLessThan(5_600_000);
    answers.push(answer);
    after = answer.body.meta.hasMore ? String(answer.body.meta.nextSeq) : undefined;
  } while (after);
  return answers;
}

describe("a chat of 9.4 MB of text", () => {
  it("can be ended, and read page by page", async () => {
    const chatId = await aChat(world);
    const content = "y".repeat(9_400);
    for (let i = 0; i < 20; i++) {
      const add = [...Array(50).keys()].map((n) => ({ role: n % 2 ? "agent" : "user", content }));
      await control("retell", "PATCH", `/chats/${chatId}`, { add });
    }
    const { status, body } = await end(chatId);
    expect([status, body.data?.chat_status]).toEqual([200, "ended"]);

    const all = await pages(chatId);
    expect(all.flatMap(shown).map(({ seq }) => seq)).toEqual([...Array(1_001).keys()].map((i) => i + 1));
    expect(all[0]?.body.data).toMatchObject({ chat_status: "ended", message_count: 1_001 });
    expect((await end(chatId)).body.data).toEqual(body.data);
  });
});

describe("tool calls with huge arguments", () => {
  const aCall = (i: number) => ({
    role: "tool_call_invocation",
    message_id: `m-${i}`,
    tool_call_id: `t-${i}`,
    name: "look_up",
    arguments: JSON.stringify({ text: "x".repeat(2_000_000) }),
  });

  it("are cut like any message, below 5.5 MB as Lambda counts it", async () => {
    const chatId = await aChat(world);
    const messages = [1, 2, 3, 4].map(aCall);
    await world.db
      .collection("chats")
      .updateOne({ chat_id: chatId }, { $set: { messages, chat_status: "ended", end_timestamp: 1 } });
    const answers = await pages(chatId, { include: "tools" });
    expect(answers.length).toBeGreaterThan(1);
    expect(answers.flatMap(shown).map((message) => message.tool_call_id)).toEqual(["t-1", "t-2", "t-3", "t-4"]);
  });
});

describe("the text of a chat that is over", () => {
  it("is composed of its messages where none is stored", async () => {
    const chatId = await aChat(world);
    await end(chatId);
    const { body } = await read(chatId);
    expect(body.data.transcript).toMatch(/^Agent: .+\n$/);
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { transcript: "" } });
    expect((await read(chatId, { include: "tools" })).body.data.transcript).toBe(body.data.transcript);
  });

  it("is not stored where it is too long beside the messages", async () => {
    const chatId = await aChat(world);
    const add = [...Array(95).keys()].map(() => ({ role: "user", content: "y".repeat(9_400) }));
    for (let i = 0; i < 4; i++) await control("retell", "PATCH", `/chats/${chatId}`, { add });
    await end(chatId);
    expect((await world.db.collection("chats").findOne({ chat_id: chatId }))?.transcript).toBe("");
  });
});
