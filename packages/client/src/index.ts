export type { RateLimit } from "./answer.ts";
export type { Chat, DeleteOptions, ExportOptions, MessagesOptions, Resumed, SendOptions } from "./chat.ts";
export { type Client, type ClientOptions, type CreateOptions, createClient } from "./client.ts";
export {
  AbortError,
  AuthError,
  BusyError,
  ChatEndedError,
  ChatError,
  type ClientErrorCode,
  DeadlineError,
  type ErrorCode,
  NetworkError,
  NotFoundError,
  type Outcome,
  PermissionError,
  RateLimitError,
  UnavailableError,
  ValidationError,
} from "./errors.ts";
export type { DownloadOptions, Exporting, Exports, FinishOptions } from "./exports.ts";
export type { PendingMessage, Storage } from "./outbox.ts";
export type { ChatList, FoundChats } from "./pages.ts";
export type { TokenSource } from "./token.ts";
export type { Fetch, FileForm, Operation, RequestEvent } from "./transport.ts";
export type * from "./types.ts";
export type { Limits } from "./wait.ts";
export type { ChatView, WatchOptions } from "./watch.ts";
