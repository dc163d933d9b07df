import * as z from "zod";
import { Analytics, AnalyticsMeta, AnalyticsQuery } from "../chat/analytics/schema.ts";
import { ExportQuery, mediaTypes } from "../chat/export/query.ts";
import { CreateExportBody, Export, InExport } from "../chat/export/schema.ts";
import { ListMeta, ListQuery } from "../chat/find/list.ts";
import {
  CreateChatBody,
  CreatedChat,
  DeletedChat,
  DeleteQuery,
  EndedChat,
  InChat,
  InSubaccount,
  ListedChat,
  PollAfter,
  routeNames,
  SendMessageBody,
  SentMessage,
  Transcript,
  TranscriptQuery,
} from "../chat/schema.ts";
import { FoundChat, SearchMeta, SearchQuery } from "../chat/search/schema.ts";
import type { Route } from "./route.ts";

/**
 * The API: who may call what, how often, and with which input. `sst.config.ts` deploys this table, `dev/gateway.ts`
 * serves it, `test/refusals.test.ts` tests it. A new endpoint is one row, and one file in functions/ of the same name.
 */
export const routes = table({
  create: {
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
  },
  message: {
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
  },
  end: {
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
  },
  list: {
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
  },
  search: {
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
  },
  transcript: {
    method: "GET",
    path: "/api/chats/{subaccountId}/{chatId}/transcript",
    summary: "One chat in full",
    message: "Chat transcript retrieved successfully",
    permission: "read",
    limit: { requests: 100, perSeconds: 60 },
    params: InChat,
    query: TranscriptQuery,
    data: Transcript,
    meta: z.object({
      cached: z.boolean(),
      stale: z.literal(true).optional(),
      revision: z.string().meta({ description: "What the answer shows of the chat: pass it as `after_revision`" }),
      hasMore: z.boolean().optional(),
      nextSeq: z.number().int().optional(),
      poll_after_ms: PollAfter,
    }),
    hasEtag: true,
    usesRetell: true,
    errors: ["CHAT_NOT_FOUND", "CHAT_RETRIEVE_FAILED"],
    memory: "1024 MB",
  },
  export: {
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
  },
  analytics: {
    method: "GET",
    path: "/api/chats/{subaccountId}/analytics",
    summary: "Sums over a subaccount's chats: how many, how long, how successful, what they cost",
    message: "Analytics retrieved successfully",
    permission: "read",
    limit: { requests: 50, perSeconds: 60 },
    params: InSubaccount,
    query: AnalyticsQuery,
    data: Analytics,
    meta: AnalyticsMeta,
    errors: ["ANALYTICS_FAILED"],
    memory: "1024 MB",
  },
  delete: {
    method: "DELETE",
    path: "/api/chats/{subaccountId}/{chatId}",
    summary: "Delete a chat",
    message: "Chat deleted successfully",
    permission: "delete",
    limit: { requests: 50, perSeconds: 60 },
    params: InChat,
    query: DeleteQuery,
    data: DeletedChat,
    meta: z.object({
      at_retell: z
        .enum(["deleted", "pending"])
        .optional()
        .meta({ description: "Only with `at_retell=true`. `pending`: it is tried again until Retell has deleted it" }),
    }),
    errors: ["CHAT_NOT_FOUND"],
    memory: "1024 MB",
  },
  "exports-create": {
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
  },
  "exports-list": {
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
  },
  "exports-get": {
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
  },
  "exports-cancel": {
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
  },
  webhook: {
    method: "POST",
    path: "/api/webhooks/retell/{subaccountId}",
    summary: "What Retell tells of a chat afterwards: started, ended, analyzed",
    message: "Webhook received",
    signed: true,
    params: InSubaccount,
    data: z.object({ received: z.literal(true) }),
    memory: "1024 MB",
  },
  health: {
    method: "GET",
    path: "/health",
    answersHead: true,
    summary: "Whether the API is up",
    message: "OK",
    data: z.object({ status: z.literal("ok"), version: z.string() }),
    memory: "256 MB",
    timeoutSeconds: 5,
  },
  openapi: {
    method: "GET",
    path: "/openapi.json",
    hasEtag: true,
    isBare: true,
    summary: "This description of the API",
    message: "OK",
    data: z.looseObject({ openapi: z.string() }),
    memory: "256 MB",
    timeoutSeconds: 5,
  },
  default: {
    method: "ANY",
    path: "$default",
    summary: "Whatever no other route matches",
    message: "OK",
    data: z.object({ allow: z.array(z.string()) }),
    memory: "256 MB",
    timeoutSeconds: 5,
  },
});

/** The methods of the routes that match a path; none where there is no such route. */
export function methodsOf(path: string): string[] {
  return Object.values<Route>(routes)
    .filter((route) => patternOf(route).test(path))
    .flatMap(({ method, answersHead }) => (answersHead ? [method, "HEAD"] : [method]));
}

/** A name of the API's own routes is no chat's id. */
function patternOf({ path }: Route): RegExp {
  const parameter = (name: string) => (name === "{chatId}" ? `(?!(${routeNames.join("|")})(/|$))[^/]+` : "[^/]+");
  return new RegExp(`^${path.replaceAll(".", "\\.").replace(/\{\w+\}/g, parameter)}$`);
}

/** Gives every row its key as its name, and keeps the row's own types. */
function table<const Rows extends Record<string, Omit<Route, "name">>>(
  rows: Rows,
): { [Name in keyof Rows]: Rows[Name] & { name: Name & string } } {
  const named = Object.entries(rows).map(([name, row]) => [name, { ...row, name }]);
  return Object.fromEntries(named);
}
