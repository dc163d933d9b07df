import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { aRetellBetween } from "./support/between.ts";
import { aWorld, call, type Response, type World } from "./support/world.ts";

const retell = await aRetellBetween();
afterEach(() => retell.heal());

/** Every field that one kind of entry has and another has not. */
const fields = ["message_id", "created_timestamp", "content", "tool_call_id", "name", "arguments", "thought_signature"];

const at = ({ owner, subaccountId }: World, chatId?: string) => ({
  token: owner.token,
  subaccountId,
  ...(chatId ? { chatId } : {}),
});
const shown = ({ body }: Response): Record<string, unknown>[] => body.data.messages;

describe("a Retell that writes null for what an entry does not have", () => {
  let world: World;
  beforeEach(async () => {
    world = await aWorld({ agentId: `agent_bare_${crypto.randomUUID()}` });
    retell.after = (_path, answer) => {
      for (const entry of [...(answer?.messages ?? []), ...(answer?.message_with_tool_calls ?? [])]) {
        for (const field of fields) entry[field] ??= null;
      }
      if (answer?.chat_id) {
        for (const field of ["end_timestamp", "chat_cost", "chat_analysis", "transcript"]) answer[field] ??= null;
      }
    };
  });

  it("is read as one that leaves it out, from the create to the end", async () => {
    const created = await call("create", { ...at(world), body: { agentId: world.agentId } });
    expect([created.status, created.body.data?.messages.length]).toEqual([200, 1]);
    const chatId = created.body.data.chat_id;
    const sent = await call("message", { ...at(world, chatId), body: { content: "Where is my order?" } });
    expect([sent.status, sent.body.data?.messages.length]).toEqual([200, 1]);

    const request = { ...at(world, chatId), query: { include: "tools" } };
    const read = await call("transcript", request);
    expect([read.status, read.body.meta.stale]).toEqual([200, undefined]);
    const roles = ["agent", "user", "tool_call_invocation", "tool_call_result", "agent"];
    expect(shown(read).map(({ role }) => role)).toEqual(roles);
    for (const message of shown(read)) {
      expect(message.message_id).toMatch(/^msg_/);
      expect(message.created_timestamp).toEqual(expect.any(Number));
      expect(Object.values(message)).not.toContain(null);
    }

    expect((await call("end", at(world, chatId))).body.data).toMatchObject({
      chat_status: "ended",
      end_timestamp: expect.any(Number),
    });
    expect(shown(await call("transcript", request))).toEqual(shown(read));
  });

  it("loses no reply whose answer was lost", async () => {
    const created = await call("create", { ...at(world), body: { agentId: world.agentId } });
    const chatId = created.body.data.chat_id;
    const { after } = retell;
    retell.after = (path, answer) => {
      if (path === "/create-chat-completion") throw new Error("cut");
      return after(path, answer);
    };
    const sent = await call("message", { ...at(world, chatId), body: { content: "ping" } });
    expect([sent.status, sent.body.data?.messages.length]).toEqual([200, 1]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1_001 });
    try {
      expect(shown(await call("transcript", at(world, chatId)))).toHaveLength(3);
    } finally {
      vi.useRealTimers();
    }
  });
});
