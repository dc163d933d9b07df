import { describe, expect, it } from "vitest";
import { at } from "./support/chats.ts";
import { aTenantThatAnswers } from "./support/large-replies.ts";
import { aChat, aWorld, call, control, type Response } from "./support/world.ts";

const world = await aWorld();

const end = (chatId: string) => call("end", at(world, chatId));
const read = (chatId: string, query: Record<string, string> = {}) =>
  call("transcript", { ...at(world, chatId), query });

type Shown = { role: string; content: string; seq: number; tool_call_id?: string };
const shown = ({ body }: Response): Shown[] => body.data.messages;

/** All pages of a transcript. None is larger than Lambda allows. */
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

describe("tool calls with huge arguments", () => {
  const aCall = (i: number) => ({
    role: "tool_call_invocation",
    message_id: `m-${i}`,
    tool_call_id: `t-${i}`,
    name: "look_up",
    arguments: JSON.stringify({ text: "x".repeat(2_000_000) }),
    internal: {},
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

describe("a reply that is too large", () => {
  it("is cut for the answer where it is stored whole", async () => {
    const { tenant, chatId } = await aTenantThatAnswers(
      Array(14).fill({ role: "agent", content: "{{big}}" }),
      '"',
      120_000,
    );
    const sent = await call("message", { ...at(tenant, chatId), body: { content: "more" } });
    expect([sent.status, sent.lambdaBytes < 5_700_000]).toEqual([200, true]);
    expect(shown(sent)).toHaveLength(14);
    const chat = await tenant.db.collection("chats").findOne({ chat_id: chatId });
    expect(chat?.messages.at(-1).content).toHaveLength(120_000);
  });
});
