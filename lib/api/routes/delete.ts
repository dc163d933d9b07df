import * as z from "zod";
import { DeletedChat, DeleteQuery, InChat } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("delete", {
  method: "DELETE",
  path: "/api/chats/{subaccountId}/{chatId}",
  summary: "Delete a chat",
  message: "Chat deleted successfully",
  permission: "delete",
  limit: { requests: 50, perSeconds: 60 },
  params: InChat,
  query: DeleteQuery,
  data: DeletedChat,
  meta: z.object({
    at_retell: z
      .enum(["deleted", "pending"])
      .optional()
      .meta({ description: "Only with `at_retell=true`. `pending`: it is tried again until Retell has deleted it" }),
  }),
  errors: ["CHAT_NOT_FOUND"],
  memory: "1024 MB",
});
