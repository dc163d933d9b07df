import { CreateExportBody, Export } from "../../chat/export/schema.ts";
import { InSubaccount } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("exports-create", {
  method: "POST",
  path: "/api/chats/{subaccountId}/exports",
  summary: "Export many chats into a file, in the background",
  message: "Export accepted",
  permission: "admin",
  limit: { requests: 50, perSeconds: 60 },
  params: InSubaccount,
  body: CreateExportBody,
  data: Export,
  successStatus: 202,
  errors: ["EXPORTS_UNAVAILABLE", "TOO_MANY_EXPORTS", "IDEMPOTENCY_KEY_REUSED"],
  idempotent: true,
  memory: "1024 MB",
});
