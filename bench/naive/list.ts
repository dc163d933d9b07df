import { endpoint, redis } from "./chain.ts";

export const handler = endpoint(
  { name: "list", permission: "read", requests: 50 },
  async ({ subaccountId, query, db }) => {
    const key = `naive:chat:list:${subaccountId}`;
    const isDefault = query.limit === undefined && query.page === undefined;
    const cached = isDefault ? await redis.get<object[]>(key) : null;
    if (cached) return { message: "Chats retrieved successfully", data: cached, meta: { cached: true } };

    const limit = Number(query.limit ?? 100);
    const data = await db
      .collection("chats")
      .find({ subaccountId })
      .sort({ start_timestamp: -1, chat_id: -1 })
      .skip(Number(query.page ?? 0) * limit)
      .limit(limit)
      .project({
        _id: 0,
        chat_id: 1,
        agent_id: 1,
        chat_status: 1,
        start_timestamp: 1,
        end_timestamp: 1,
        message_count: 1,
        createdAt: 1,
      })
      .toArray();
    if (isDefault) await redis.set(key, data, { ex: 60 });
    return { message: "Chats retrieved successfully", data, meta: { count: data.length, cached: false } };
  },
);
