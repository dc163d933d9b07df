import { ExportQuery, mediaTypes } from "../../chat/export/query.ts";
import { InChat, Transcript } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("export", {
  method: "GET",
  path: "/api/chats/{subaccountId}/{chatId}/export",
  summary: "One chat as a file, for people or for other programs",
  message: "The file",
  permission: "read",
  limit: { requests: 100, perSeconds: 60 },
  params: InChat,
  query: ExportQuery,
  data: Transcript,
  isBare: true,
  mediaTypes: Object.values(mediaTypes),
  usesRetell: true,
  errors: ["CHAT_NOT_FOUND", "CHAT_RETRIEVE_FAILED", "EXPORT_TOO_LARGE"],
  memory: "2048 MB", // for a PDF, which takes most of a second of CPU for 500 messages
});
