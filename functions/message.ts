import { begin, carry } from "../lib/chat/turns.ts";
import { endpoint } from "../lib/endpoint.ts";
import { retellFor } from "../lib/retell/client.ts";
import { routes } from "../lib/routes.ts";

/** Sends what the user says and returns what the agent answers. Stored before it is sent, and before it is answered. */
export const handler = endpoint(routes.message).handler(async ({ params, body, tenant, deadline }) => {
  const place = { tenant, chatId: params.chatId, retell: await retellFor(tenant), deadline };
  const turn = await begin(place, body.content); // CHAT_BUSY while another turn is running
  const { messages, chat_status } = await carry(place, turn);
  return { data: { chat_id: params.chatId, messages, user_message: turn.user, chat_status } };
});
