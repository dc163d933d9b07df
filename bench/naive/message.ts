import { z } from "zod";
import { endpoint, redis, retellOf } from "./chain.ts";

const Body = z.object({ content: z.string().min(1).max(10_000) });

export const handler = endpoint(
  { name: "message", permission: "write", requests: 200, body: Body },
  async ({ subaccountId, chatId, body: { content }, db }) => {
    const chats = db.collection("chats");
    const chat = await chats.findOne({ subaccountId, chat_id: chatId });
    if (chat?.chat_status !== "ongoing") throw new Error("The chat is over");
    const retell = await retellOf(subaccountId);
    const { messages } = await retell.chat.createChatCompletion({ chat_id: chatId, content });
    const user = { message_id: crypto.randomUUID(), role: "user", content, created_timestamp: Date.now() };
    const all = [...chat.messages, user, ...messages];
    await chats.updateOne(
      { subaccountId, chat_id: chatId },
      { $set: { messages: all, message_count: all.length, updatedAt: new Date() } },
    );
    await redis.del(`naive:chat:${subaccountId}:${chatId}`);
    return { message: "Message sent successfully", data: { chat_id: chatId, messages, chat_status: "ongoing" } };
  },
);
