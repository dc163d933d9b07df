import { endpoint, redis, retellOf } from "./chain.ts";

export const handler = endpoint(
  { name: "end", permission: "write", requests: 100 },
  async ({ subaccountId, chatId, db }) => {
    const chats = db.collection("chats");
    const chat = await chats.findOne({ subaccountId, chat_id: chatId });
    if (!chat) throw new Error("No such chat");
    const retell = await retellOf(subaccountId);
    await retell.chat.end(chatId);
    const { chat_status, end_timestamp, transcript, chat_cost } = await retell.chat.retrieve(chatId);
    await chats.updateOne(
      { subaccountId, chat_id: chatId },
      { $set: { chat_status, end_timestamp, transcript, chat_cost, updatedAt: new Date() } },
    );
    await redis.del(`naive:chat:list:${subaccountId}`);
    await redis.del(`naive:chat:${subaccountId}:${chatId}`);
    return { message: "Chat ended successfully", data: { chat_id: chatId, chat_status, end_timestamp } };
  },
);
