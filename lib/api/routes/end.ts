import { EndedChat, InChat } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("end", {
  method: "POST",
  path: "/api/chats/{subaccountId}/{chatId}/end",
  summary: "End a chat",
  message: "Chat ended successfully",
  permission: "write",
  limit: { requests: 100, perSeconds: 60 },
  params: InChat,
  data: EndedChat,
  usesRetell: true,
  errors: ["CHAT_NOT_FOUND", "CHAT_BUSY", "CHAT_END_FAILED"],
  memory: "1024 MB",
});
