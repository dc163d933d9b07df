import { endpoint, redis, retellOf } from "./chain.ts";

export const handler = endpoint(
  { name: "transcript", permission: "read", requests: 100 },
  async ({ subaccountId, chatId, db }) => {
    const message = "Chat transcript retrieved successfully";
    const key = `naive:chat:${subaccountId}:${chatId}`;
    const cached = await redis.get<object>(key);
    if (cached) return { message, data: cached, meta: { cached: true } };

    const chats = db.collection("chats");
    const chat = await chats.findOne({ subaccountId, chat_id: chatId }, { projection: { _id: 0, internal: 0 } });
    if (chat?.chat_status === "ongoing") {
      const retell = await retellOf(subaccountId);
      const { chat_status, message_with_tool_calls } = await retell.chat.retrieve(chatId);
      Object.assign(chat, { chat_status, messages: message_with_tool_calls ?? chat.messages });
      await chats.updateOne({ subaccountId, chat_id: chatId }, { $set: { chat_status, messages: chat.messages } });
    } else await redis.set(key, chat, { ex: 300 });
    return { message, data: chat, meta: { cached: false } };
  },
);
