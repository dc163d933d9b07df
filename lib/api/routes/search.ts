import * as z from "zod";
import { InSubaccount } from "../../chat/schema.ts";
import { FoundChat, SearchMeta, SearchQuery } from "../../chat/search/schema.ts";
import { row } from "../route.ts";

export const route = row("search", {
  method: "GET",
  path: "/api/chats/{subaccountId}/search",
  summary: "Find chats by what was said in them, newest first",
  message: "Chats found successfully",
  permission: "read",
  limit: { requests: 50, perSeconds: 60 },
  params: InSubaccount,
  query: SearchQuery,
  data: z.array(FoundChat),
  meta: SearchMeta,
  errors: ["CHAT_LIST_FAILED"],
  memory: "1024 MB",
});
