import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/message.ts";
import { replyOf } from "../lib/chat/read.ts";
import { send } from "../lib/chat/send.ts";
import { retellFor } from "../lib/retell/client.ts";

/** Sends what the user says and returns what the agent answers. A repeat with the same key sends nothing. */
export const handler = endpoint(route).handler(async ({ params, body, tenant, deadline, begun, idempotency }) => {
  const context = { tenant, chatId: params.chatId, retell: await retellFor(tenant), deadline, begun };
  const { messages, user, chat_status, isReplay } = await send(context, body, idempotency);
  return { data: { chat_id: params.chatId, messages: replyOf(messages), user_message: user, chat_status }, isReplay };
});
