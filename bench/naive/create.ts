import { z } from "zod";
import { endpoint, redis, retellOf } from "./chain.ts";

const Body = z.object({ agentId: z.string().min(1).max(128), metadata: z.record(z.string(), z.unknown()).optional() });

export const handler = endpoint(
  { name: "create", permission: "write", requests: 100, body: Body },
  async ({ subaccountId, body: { agentId, metadata = {} }, db }) => {
    const retell = await retellOf(subaccountId);
    const agent = await db.collection("chatagents").findOne({ agentId, subaccountId });
    if (!agent) throw new Error("No such agent");
    const created = await retell.chat.create({ agent_id: agentId, metadata });
    const messages = created.message_with_tool_calls ?? [];
    const chat = {
      chat_id: created.chat_id,
      agent_id: agentId,
      chat_status: "ongoing",
      start_timestamp: Date.now(),
      end_timestamp: null,
      message_count: messages.length,
      messages,
      metadata,
      subaccountId,
      createdAt: new Date(),
    };
    await db.collection("chats").insertOne({ ...chat });
    await redis.del(`naive:chat:list:${subaccountId}`);
    return { message: "Chat created successfully", data: { ...chat, retellAccount: retell.account } };
  },
);
