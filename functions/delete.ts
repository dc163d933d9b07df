import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/delete.ts";
import { deleteChat } from "../lib/chat/delete.ts";

/** Ends the chat at Retell, then deletes it here, and at Retell too if that is asked for. */
export const handler = endpoint(route).handler(async ({ params, query, tenant, deadline }) => {
  const atRetell = await deleteChat(tenant, params.chatId, query.at_retell, deadline);
  return {
    data: { chat_id: params.chatId, deleted: true },
    meta: query.at_retell && atRetell ? { at_retell: atRetell } : {},
  };
});
