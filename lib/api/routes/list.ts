import * as z from "zod";
import { ListMeta, ListQuery } from "../../chat/find/list.ts";
import { InSubaccount, ListedChat } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("list", {
  method: "GET",
  path: "/api/chats/{subaccountId}/list",
  summary: "Page through a subaccount's chats, filtered or all of them",
  message: "Chats retrieved successfully",
  permission: "read",
  limit: { requests: 50, perSeconds: 60 },
  params: InSubaccount,
  query: ListQuery,
  data: z.array(ListedChat),
  meta: ListMeta,
  hasEtag: true,
  errors: ["CHAT_LIST_FAILED"],
  memory: "1024 MB",
});
