import { Export, InExport } from "../../chat/export/schema.ts";
import { row } from "../route.ts";

export const route = row("exports-cancel", {
  method: "DELETE",
  path: "/api/chats/{subaccountId}/exports/{exportId}",
  summary: "Cancel an export, or delete its file",
  message: "Export canceled",
  permission: "admin",
  limit: { requests: 50, perSeconds: 60 },
  params: InExport,
  data: Export,
  errors: ["EXPORT_NOT_FOUND"],
  memory: "1024 MB",
});
