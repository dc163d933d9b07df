import "./support/own-retell.ts";
import { expect, it } from "vitest";
import { aChat, aWorld, call, control, fault } from "./support/world.ts";

it("an opening that comes after the first reply and before the second send is kept, once, in the order of learning", async () => {
  const world = await aWorld();
  await fault(world, "create", { kind: "lateReply", replyAfterMs: 60_000 });
  const chatId = await aChat(world);
  const at = { token: world.owner.token, subaccountId: world.subaccountId, chatId };
  await call("message", { ...at, body: { content: "ping 1" } });
  await control("retell", "POST", "/clock", { advanceMs: 60_000 });
  await call("message", { ...at, body: { content: "ping 2" } });
  for (let i = 0; i < 2; i++) {
    const { body } = await call("transcript", { ...at, query: { consistency: "strong" } });
    expect(body.data.messages.map((m: { role: string }) => m.role)).toEqual([
      "user",
      "agent",
      "user",
      "agent",
      "agent",
    ]);
    expect(body.data.messages.at(-1).content).toContain("Fernwood");
  }
  expect((await call("message", { ...at, body: { content: "ping 3" } })).body.data.user_message.seq).toBe(6);
  const { body } = await call("transcript", { ...at, query: { consistency: "strong" } });
  expect(body.data.messages).toHaveLength(7);
});

it.each(["none", "before"])("a 2xx that is not Retell's own ends no chat (effect: %s)", async (effect) => {
  const world = await aWorld();
  const chatId = await aChat(world);
  await fault(world, "end", { kind: "garbage", as: "html", effect });
  const request = { token: world.owner.token, subaccountId: world.subaccountId, chatId };
  const { status, body } = await call("end", request);
  const { status: atRetell } = await control("retell", "GET", `/chats/${chatId}`);
  const stored = await world.db.collection("chats").findOne({ chat_id: chatId });
  expect([status, body.code, stored?.chat_status]).toEqual(
    effect === "none" ? [503, "CHAT_END_FAILED", "ongoing"] : [200, undefined, "ended"],
  );
  expect(stored?.chat_status).toBe(atRetell);
});

it("openings that come late get a seq of 0 and below, and every nextSeq that is given is taken", async () => {
  const world = await aWorld();
  const { token, subaccountId } = { token: world.owner.token, subaccountId: world.subaccountId };
  const chatId = await aChat(world);
  await call("message", { token, subaccountId, chatId, body: { content: "ping" } });
  const { entries } = await control("retell", "GET", `/chats/${chatId}`);
  const late = ["one", "two"].map((content) => ({ role: "agent", content, message_id: `late ${content}` }));
  await control("retell", "PATCH", `/chats/${chatId}`, { entries: [...late, ...entries] });

  const seen: number[] = [];
  let query: Record<string, string> = { limit: "1" };
  for (let more = true; more; ) {
    const { status, body } = await call("transcript", { token, subaccountId, chatId, query });
    expect(status).toBe(200);
    seen.push(...body.data.messages.map(({ seq }: { seq: number }) => seq));
    more = body.meta.hasMore;
    query = { limit: "1", after_seq: String(body.meta.nextSeq) };
  }
  expect(seen).toEqual([-1, 0, 1, 2, 3]);
});
