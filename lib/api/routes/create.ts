import { CreateChatBody, CreatedChat, InSubaccount } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("create", {
  method: "POST",
  path: "/api/chats/{subaccountId}/create",
  summary: "Start a chat with an agent",
  message: "Chat created successfully",
  permission: "write",
  limit: { requests: 100, perSeconds: 60 },
  params: InSubaccount,
  body: CreateChatBody,
  data: CreatedChat,
  usesRetell: true,
  errors: [
    "AGENT_NOT_FOUND",
    "CHAT_NOT_FOUND",
    "REQUEST_IN_PROGRESS",
    "IDEMPOTENCY_KEY_REUSED",
    "CHAT_CREATION_FAILED",
  ],
  idempotent: true,
  memory: "1024 MB",
});
