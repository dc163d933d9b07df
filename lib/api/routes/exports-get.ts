import { Export, InExport } from "../../chat/export/schema.ts";
import { row } from "../route.ts";

export const route = row("exports-get", {
  method: "GET",
  path: "/api/chats/{subaccountId}/exports/{exportId}",
  summary: "How far an export is, and where its file is",
  message: "Export retrieved successfully",
  permission: "admin",
  limit: { requests: 50, perSeconds: 60 },
  params: InExport,
  data: Export,
  errors: ["EXPORT_NOT_FOUND"],
  memory: "1024 MB",
});
