import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/end.ts";
import { end } from "../lib/chat/end.ts";

/** Ends the chat at Retell, then stores how it finished. Ending twice is not an error. */
export const handler = endpoint(route).handler(async ({ params, tenant, deadline }) => {
  const { chat_id, chat_status, end_timestamp } = await end(tenant, params.chatId, deadline);
  return { data: { chat_id, chat_status, end_timestamp } };
});
