import * as z from "zod";
import { Export } from "../../chat/export/schema.ts";
import { InSubaccount } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("exports-list", {
  method: "GET",
  path: "/api/chats/{subaccountId}/exports",
  summary: "The newest exports of a subaccount",
  message: "Exports retrieved successfully",
  permission: "admin",
  limit: { requests: 50, perSeconds: 60 },
  params: InSubaccount,
  data: z.array(Export),
  meta: z.object({ count: z.number().int() }),
  memory: "1024 MB",
});
