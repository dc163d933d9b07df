import { sign } from "retell-sdk/lib/webhook_auth";
import { expect } from "vitest";
import { toEvent } from "../../dev/event.ts";
import { handler as webhook } from "../../functions/webhook.ts";
import { anOrphan } from "../support/orphan.ts";
import { at, atRetell, retried, stored } from "../support/retried.ts";
import { aChat, aContext, call, control, eventFor, fault, type Request, type World } from "../support/world.ts";
import type { Doomed, Scenario } from "./deaths.ts";

// The sweep's clock is put forward, and the simulator's goes with it.
await control("retell", "PUT", "/agents/agent_shop", { end_chat_after_silence_ms: null });

const keyed = { "idempotency-key": "k1" };

/** A chat in which something has been said. */
async function anOldChat(world: World): Promise<string> {
  const chatId = await aChat(world);
  await call("message", { ...at(world, chatId), body: { content: "ping" } });
  return chatId;
}

/** Leaves a turn open: Retell has not answered, nor shown anything. */
async function leaveOpen(world: World, chatId: string): Promise<void> {
  await fault(world, "completion", { kind: "drop" });
  const { status } = await call("message", { ...at(world, chatId), body: { content: "lost?" } });
  expect(status).toBe(504);
}

const change = (chatId: string, body: object) => control("retell", "PATCH", `/chats/${chatId}`, body);
const lateReply = {
  add: [
    { role: "user", content: "lost?" },
    { role: "agent", content: "found" },
  ],
};

/** A message with a key. */
async function message(world: World, chatId: string, content: string): Promise<Doomed> {
  const request: Request = { ...at(world, chatId), body: { content }, headers: keyed };
  let told: { messages: { content: string }[]; user_message: { message_id: string } };
  return {
    run: { name: "message", event: eventFor("message", request) },
    retry: async () => {
      told = (await retried(world, "message", request)).body.data;
    },
    check: async () => {
      const [held] = await atRetell(world);
      const said = held.entries.filter((entry: { content?: string }) => entry.content === content);
      expect(said).toHaveLength(1);
      const reply = held.entries.slice(held.entries.indexOf(said[0]) + 1);
      const contents = reply.filter((entry: { role: string }) => entry.role === "agent");
      expect(told.messages.map((entry) => entry.content)).toEqual(
        contents.map((entry: { content: string }) => entry.content),
      );
      const [chat] = await stored(world);
      const ours = chat.messages.filter(
        ({ internal }: { internal?: { key?: string; failed?: true } }) => internal?.key && !internal.failed,
      );
      expect(ours.map((entry: { message_id: string }) => entry.message_id)).toEqual([told.user_message.message_id]);
      const again = await call("message", request);
      expect([again.status, again.headers["idempotent-replayed"]]).toEqual([200, "true"]);
      expect({ ...again.body.data, chat_status: "" }).toEqual({ ...told, chat_status: "" });
    },
  };
}

async function create(world: World, key: object): Promise<Doomed> {
  const body = { agentId: world.agentId, metadata: { order: 7 } };
  const request: Request = { ...at(world), body, headers: { ...key } };
  const before = (await stored(world)).map(({ chat_id }) => chat_id);
  let told: { chat_id: string };
  return {
    run: { name: "create", event: eventFor("create", request) },
    retry: async () => {
      told = (await retried(world, "create", request)).body.data;
      // With a key no second one is ever begun; without one the sweep ends what nobody has.
      const begun = (await atRetell(world)).filter(({ status }) => status === "ongoing");
      if (key === keyed) expect(begun).toHaveLength(before.length + 1);
    },
    check: async () => {
      const ongoing = (await atRetell(world)).filter(({ status }) => status === "ongoing");
      const ours = (await stored(world)).filter(({ chat_status }) => chat_status === "ongoing");
      expect(ours.map(({ chat_id }) => chat_id).sort()).toEqual(ongoing.map(({ chat_id }) => chat_id).sort());
      const made = ours.filter(({ chat_id }) => !before.includes(chat_id));
      expect(made.map(({ chat_id }) => chat_id)).toContain(told.chat_id);
      expect(made.map(({ metadata }) => metadata)).toEqual(made.map(() => body.metadata));
      if (key !== keyed) return;
      expect(made).toHaveLength(1);
      expect(await world.db.collection("chatrequests").find().toArray()).toMatchObject([{ chat_id: told.chat_id }]);
      const again = await call("create", request);
      expect([again.headers["idempotent-replayed"], again.body.data]).toEqual(["true", told]);
    },
  };
}

async function end(world: World, chatId: string): Promise<Doomed> {
  const request = at(world, chatId);
  let told: unknown;
  return {
    run: { name: "end", event: eventFor("end", request) },
    retry: async () => {
      told = (await retried(world, "end", request)).body.data;
    },
    check: async () => {
      const [chat] = await stored(world);
      expect(told).toEqual({ chat_id: chatId, chat_status: "ended", end_timestamp: chat.end_timestamp });
      expect((await call("end", request)).body.data).toEqual(told);
      expect(chat.transcript).toContain("ping");
    },
  };
}

async function deletion(world: World, chatId: string, at_retell: "true" | "false"): Promise<Doomed> {
  const request = { ...at(world, chatId), query: { at_retell } };
  return {
    run: { name: "delete", event: eventFor("delete", request) },
    retry: async () => {
      const { data } = (await retried(world, "delete", request)).body;
      expect(data).toEqual({ chat_id: chatId, deleted: true });
    },
    check: async () => {
      expect(await stored(world)).toEqual([]);
      const [left] = await world.db.collection("chats").find().toArray();
      expect(left?.internal).not.toHaveProperty("nextSweepAt");
      expect(JSON.stringify(left)).not.toContain("ping");
      expect((await call("transcript", at(world, chatId))).status).toBe(404);
      const { token, subaccountId } = request;
      expect((await call("list", { token, subaccountId })).body.data).toEqual([]);
      expect((await atRetell(world)).map(({ status }) => status)).toEqual(at_retell === "true" ? [] : ["ended"]);
    },
  };
}

/** A webhook, which Retell sends again when it is not answered. */
async function told(world: World, chatId: string, event: string): Promise<Doomed> {
  const answer = await fetch(`${process.env.RETELL_BASE_URL}/get-chat/${chatId}`, {
    headers: { authorization: `Bearer ${world.apiKey}` },
  });
  const body = JSON.stringify({ event, chat: await answer.json() });
  const headers = { "content-type": "application/json", "x-retell-signature": await sign(body, world.apiKey) };
  const target = `/api/webhooks/retell/${world.subaccountId}`;
  const delivery = toEvent({ method: "POST", target, headers, body });
  return {
    run: { name: "webhook", event: delivery },
    retry: async () => {
      expect((await webhook(delivery, aContext())).statusCode).toBe(200);
      const [chat] = await stored(world);
      expect(chat.chat_status).toBe("ended");
      expect(chat.messages.at(-1).content).toBe("found");
      if (event === "chat_analyzed") expect(chat.chat_analysis).toMatchObject({ chat_summary: expect.any(String) });
    },
    check: async () => {
      expect((await stored(world))[0].transcript).toContain("User: lost?");
    },
  };
}

const sweepOf = (check: () => Promise<void>): Doomed => ({
  run: { name: "sweep", event: undefined },
  retry: async () => {},
  check,
});

/** Requests that may die at any moment, by name. Each needs a Retell and a central database of the file's own. */
export const scenarios = {
  "a message": {
    through: ["findAndModify chats", "POST /create-chat-completion", "findAndModify chats #2"],
    prepare: async (world) => message(world, await anOldChat(world), "Where is my order?"),
  },
  "a message, warm": {
    through: ["findAndModify chats", "POST /create-chat-completion", "findAndModify chats #2"],
    isWarm: true,
    prepare: async (world) => message(world, await anOldChat(world), "Where is my order?"),
  },
  "a message after which the agent ends the chat, warm": {
    through: ["findAndModify chats #2", "GET /get-chat/{chatId}", "findAndModify chats #3"],
    isWarm: true,
    prepare: async (world) => message(world, await anOldChat(world), "goodbye"),
  },
  "a message that settles another first, warm": {
    through: ["findAndModify chats #2", "POST /create-chat-completion", "findAndModify chats #4"],
    isWarm: true,
    prepare: async (world) => {
      const chatId = await anOldChat(world);
      await leaveOpen(world, chatId);
      await change(chatId, lateReply);
      return message(world, chatId, "and now?");
    },
  },
  "a create with a key": {
    through: ["findAndModify chatrequests", "POST /create-chat", "insert chats", "update chatrequests"],
    prepare: (world) => create(world, keyed),
  },
  "a create with a key, warm": {
    through: ["findAndModify chatrequests", "POST /create-chat", "insert chats", "update chatrequests"],
    isWarm: true,
    prepare: (world) => create(world, keyed),
  },
  "a create without a key, warm": {
    through: ["POST /create-chat", "insert chats"],
    isWarm: true,
    prepare: (world) => create(world, {}),
  },
  "an end": {
    through: ["aggregate chats", "PATCH /end-chat/{chatId}", "GET /get-chat/{chatId}", "findAndModify chats"],
    prepare: async (world) => end(world, await anOldChat(world)),
  },
  "an end that decides an open turn, warm": {
    through: ["PATCH /end-chat/{chatId}", "findAndModify chats", "findAndModify chats #2"],
    isWarm: true,
    prepare: async (world) => {
      const chatId = await anOldChat(world);
      await leaveOpen(world, chatId);
      await change(chatId, lateReply);
      return end(world, chatId);
    },
  },
  "a deletion of a chat with an open turn": {
    through: ["find chats", "PATCH /end-chat/{chatId}", "update chats"],
    prepare: async (world) => {
      const chatId = await anOldChat(world);
      await leaveOpen(world, chatId);
      await call("list", at(world));
      return deletion(world, chatId, "false");
    },
  },
  "a deletion here and at Retell, warm": {
    through: [
      "find chats",
      "PATCH /end-chat/{chatId}",
      "update chats",
      "DELETE /delete-chat/{chatId}",
      "update chats #2",
    ],
    isWarm: true,
    prepare: async (world) => {
      const chatId = await anOldChat(world);
      await call("list", at(world));
      return deletion(world, chatId, "true");
    },
  },
  "a webhook of the end": {
    through: ["aggregate chats", "findAndModify chats", "findAndModify chats #2"],
    prepare: async (world) => {
      const chatId = await anOldChat(world);
      await change(chatId, { ...lateReply, status: "ended" });
      return told(world, chatId, "chat_ended");
    },
  },
  "a webhook of the analysis, with a turn open": {
    through: ["aggregate chats", "findAndModify chats", "findAndModify chats #2"],
    prepare: async (world) => {
      const chatId = await anOldChat(world);
      await leaveOpen(world, chatId);
      await change(chatId, { ...lateReply, status: "ended" });
      await control("retell", "POST", "/clock", { advanceMs: 60_000 });
      return told(world, chatId, "chat_analyzed");
    },
  },
  "a sweep": {
    through: ["update chatsweeps", "update chats #4", "findAndModify chats #2", "PATCH /end-chat/{chatId}"],
    prepare: async (world) => {
      const [open, silent] = [await anOldChat(world), await anOldChat(world)];
      await leaveOpen(world, open);
      await change(open, lateReply);
      await change(silent, { status: "ended" });
      const orphan = await anOrphan(world);
      for (const [i, chat_id] of [open, silent].entries()) {
        // One after the other: of two that are due at the same time either may come first.
        const due = new Date(Date.now() - 2 + i);
        await world.db.collection("chats").updateOne({ chat_id }, { $set: { "internal.nextSweepAt": due } });
      }
      return sweepOf(async () => {
        const held = await atRetell(world);
        expect(held.find(({ chat_id }) => chat_id === orphan).status).toBe("ended");
        expect((await stored(world)).map(({ chat_status }) => chat_status)).toEqual(["ongoing", "ended"]);
      });
    },
  },
} satisfies Record<string, Scenario>;
