import { InChat, SendMessageBody, SentMessage } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("message", {
  method: "POST",
  path: "/api/chats/{subaccountId}/{chatId}/message",
  summary: "Send a message and get the agent's reply",
  message: "Message sent successfully",
  permission: "write",
  limit: { requests: 200, perSeconds: 60 },
  params: InChat,
  body: SendMessageBody,
  data: SentMessage,
  usesRetell: true,
  errors: [
    "CHAT_NOT_FOUND",
    "CHAT_BUSY",
    "REQUEST_IN_PROGRESS",
    "CHAT_ENDED",
    "IDEMPOTENCY_KEY_REUSED",
    "MESSAGE_SEND_FAILED",
  ],
  idempotent: true,
  memory: "1024 MB",
});
