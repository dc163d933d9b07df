import type { Document } from "mongodb";
import { describe, expect, it } from "vitest";
import { aRetellBetween } from "./support/between.ts";
import { at, send } from "./support/chats.ts";
import { logged } from "./support/instance.ts";
import { aTenantThatAnswers } from "./support/large-replies.ts";
import { aLog } from "./support/log.ts";
import { aChat, aWorld, call, control, type Response, type World } from "./support/world.ts";

const between = await aRetellBetween();

/** All pages of a transcript. */
async function pages(world: World, chatId: string): Promise<Document[]> {
  const messages: Document[] = [];
  for (let query = {}, more = true; more; ) {
    const { status, body, lambdaBytes } = await call("transcript", { ...at(world, chatId), query });
    expect([status, body.meta.stale, lambdaBytes < 5_600_000]).toEqual([200, undefined, true]);
    messages.push(...body.data.messages);
    more = body.meta.hasMore;
    query = { after_seq: String(body.meta.nextSeq) };
  }
  return messages;
}

describe("a history at Retell that does not fit into a document", () => {
  /** 17 MB of words, none of which is too long by itself. */
  const words = [...Array(34).keys()].map((n) => ({
    role: n % 2 ? "agent" : "user",
    message_id: `far ${n}`,
    content: "word ".repeat(100_000),
  }));

  it.each([
    ["the old server", { internal: "" }],
    ["ours", { nothing: "" }],
  ])(
    "is shown in pages, and the chat takes no new turn: 413, where the chat is of %s",
    async (_whose, $unset) => {
      const world = await aWorld();
      const chatId = await aChat(world);
      expect((await send(world, chatId)).status).toBe(200);
      await world.db.collection("chats").updateOne({ chat_id: chatId }, { $unset });
      between.after = (path, answer) => {
        if (path.startsWith("/get-chat/")) answer.message_with_tool_calls.push(...words);
      };
      const seqs = (await pages(world, chatId)).map(({ seq }) => seq);
      expect(seqs).toEqual([...Array(37).keys()].map((i) => i + 1));

      const refused = await send(world, chatId);
      expect([refused.status, refused.body.code]).toEqual([413, "PAYLOAD_TOO_LARGE"]);
      expect((await control("retell", "GET", `/requests?step=completion&chat_id=${chatId}`)).requests).toHaveLength(1);

      const ended = await call("end", at(world, chatId));
      expect([ended.status, ended.body.data?.chat_status]).toEqual([200, "ended"]);
      const last = await call("transcript", { ...at(world, chatId), query: { after_seq: "36" } });
      expect(last.body.data.messages.map(({ message_id }: Document) => message_id)).toEqual(["far 33"]);

      const { sweep } = await import("../lib/chat/sweep/sweep.ts");
      const due = { "internal.nextSweepAt": new Date(1) };
      await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: due });
      expect((await sweep({ until: Date.now() + 60_000, perSubaccount: 10 }, aLog("sweep"))).failed).toBe(0);
      expect(logged.filter((line) => line.includes("does not fit") && line.includes(chatId))).toHaveLength(1);
    },
    300_000,
  ); // a history of 17 MB is read some ten times
});

describe("a chat of 9.4 MB of text", () => {
  it("can be ended, and read page by page", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const content = "y".repeat(9_400);
    for (let i = 0; i < 20; i++) {
      const add = [...Array(50).keys()].map((n) => ({ role: n % 2 ? "agent" : "user", content }));
      await control("retell", "PATCH", `/chats/${chatId}`, { add });
    }
    const { status, body } = await call("end", at(world, chatId));
    expect([status, body.data?.chat_status]).toEqual([200, "ended"]);

    const seqs = (await pages(world, chatId)).map(({ seq }) => seq);
    expect(seqs).toEqual([...Array(1_001).keys()].map((i) => i + 1));
    expect((await call("end", at(world, chatId))).body.data).toEqual(body.data);
  });
});

type Shown = { role: string; content: string; seq: number };
const shown = ({ body }: Response): Shown[] => body.data.messages;

describe("a reply that is too large", () => {
  const filler = (bytes: number) => ({ role: "tool_call_result", message_id: "filler", content: "x".repeat(bytes) });
  const fill = (tenant: World, chatId: string, bytes: number) =>
    tenant.db
      .collection("chats")
      .updateOne(
        { chat_id: chatId },
        { $push: { messages: { $each: [filler(bytes), { ...filler(0), message_id: "f2" }] } } as object },
      );

  it("is stored shortened where the chat is nearly full, and the chat goes on", async () => {
    const results = [...Array(24).keys()].map((i) => ({
      role: "tool_call_result",
      tool_call_id: `t${i}`,
      content: "{{big}}",
    }));
    const { tenant, chatId } = await aTenantThatAnswers([...results, { role: "agent", content: "Done." }]);
    await fill(tenant, chatId, 12_200_000);
    const where = at(tenant, chatId);
    const sent = await call("message", { ...where, body: { content: "more" } });
    expect([sent.status, sent.body.data?.messages.map(({ content }: Shown) => content)]).toEqual([200, ["Done."]]);

    const answers: Response[] = [];
    for (let after: string | undefined = "1"; after; ) {
      const query: Record<string, string> = { include: "tools", limit: "8", after_seq: after };
      const answer = await call("transcript", { ...where, query });
      expect([answer.status, answer.lambdaBytes < 5_600_000]).toEqual([200, true]);
      answers.push(answer);
      after = answer.body.meta.hasMore ? String(answer.body.meta.nextSeq) : undefined;
    }
    const cut = answers.flatMap(shown).filter((message) => "truncated" in message);
    expect(cut.length).toBeGreaterThan(10);
    const full = await call("message", { ...where, body: { content: "one more" } });
    expect([full.status, full.body.code]).toEqual([413, "PAYLOAD_TOO_LARGE"]);
    const ended = await call("end", where);
    expect([ended.status, ended.body.data?.chat_status]).toEqual([200, "ended"]);
  });

  it("of somebody else is stored shortened, too", async () => {
    const { tenant, chatId } = await aTenantThatAnswers([]);
    await fill(tenant, chatId, 15_500_000);
    const content = "w".repeat(450_000);
    for (let i = 0; i < 3; i++) {
      const add = [
        { role: "user", content: `q${i}` },
        { role: "tool_call_result", content },
        { role: "agent", content },
      ];
      await control("retell", "PATCH", `/chats/${chatId}`, { add });
    }
    const query = { after_seq: "3", consistency: "strong" };
    const answer = await call("transcript", { ...at(tenant, chatId), query });
    expect([answer.status, shown(answer).map(({ role }) => role)]).toEqual([
      200,
      ["user", "agent", "user", "agent", "user", "agent"],
    ]);
    expect(shown(answer).filter((message) => "truncated" in message)).toHaveLength(3);
    expect((await call("end", at(tenant, chatId))).status).toBe(200);
  });
});
