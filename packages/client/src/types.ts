/** What the API takes and answers. An answer may have more fields than these: the API adds some over time. */

export type ApiErrorCode =
  | "VALIDATION_ERROR"
  | "ACCESS_TOKEN_REQUIRED"
  | "INVALID_ACCESS_TOKEN"
  | "PERMISSION_DENIED"
  | "AGENT_NOT_FOUND"
  | "CHAT_NOT_FOUND"
  | "NOT_FOUND"
  | "METHOD_NOT_ALLOWED"
  | "CHAT_BUSY"
  | "REQUEST_IN_PROGRESS"
  | "CHAT_ENDED"
  | "PAYLOAD_TOO_LARGE"
  | "IDEMPOTENCY_KEY_REUSED"
  | "RATE_LIMIT_EXCEEDED"
  | "RETELL_ACCOUNT_INACTIVE"
  | "RETELL_FETCH_FAILED"
  | "API_KEY_DECRYPTION_ERROR"
  | "CHAT_CREATION_FAILED"
  | "MESSAGE_SEND_FAILED"
  | "CHAT_END_FAILED"
  | "CHAT_RETRIEVE_FAILED"
  | "CHAT_LIST_FAILED"
  | "CONNECTION_FAILED"
  | "TIMEOUT"
  | "INTERNAL_ERROR";

/** One error in the input. */
export interface FieldError {
  field: string;
  in: "body" | "query" | "path" | "header";
  message: string;
}

export type ChatStatus = "ongoing" | "ended" | "error";

/** A message of a chat. */
export interface Message {
  message_id?: string;
  /** `agent` or `user`; others only with `include: "tools"`. */
  role: string;
  content?: string;
  /** Epoch milliseconds. */
  created_timestamp?: number;
  /** Its place in the chat, which never changes. */
  seq?: number;
  /** Absent once the agent has it. A pending message may have reached the agent. */
  delivery?: "pending" | "failed";
  /** The app's own id of a message that it sent. */
  client_message_id?: string;
  truncated?: true;
}

export interface CreateChat {
  agentId: string;
  agent_version?: number | string;
  metadata?: Record<string, unknown>;
  retell_llm_dynamic_variables?: Record<string, string | number | boolean>;
}

export interface CreatedChat {
  chat_id: string;
  agent_id: string;
  chat_status: ChatStatus;
  start_timestamp: number;
  retell_llm_dynamic_variables: Record<string, string>;
  /** The agent's opening message, if there is one. */
  messages: Message[];
  retellAccount: { accountName: string; accountId: string };
}

export interface SentMessage {
  chat_id: string;
  /** The agent's messages of this turn, in order. */
  messages: Message[];
  user_message: { message_id: string; seq: number; client_message_id?: string };
  chat_status: ChatStatus;
}

export interface EndedChat {
  chat_id: string;
  chat_status: ChatStatus;
  end_timestamp: number | null;
}

export interface ListedChat {
  chat_id: string | null;
  agent_id: string | null;
  chat_status: ChatStatus | null;
  start_timestamp: number | null;
  end_timestamp: number | null;
  message_count: number | null;
  createdAt: string | null;
}

export interface Transcript {
  chat_id: string;
  agent_id: string | null;
  chat_status: ChatStatus | null;
  start_timestamp: number | null;
  end_timestamp: number | null;
  transcript?: string;
  messages: Message[];
  message_count: number;
  metadata: Record<string, unknown>;
  retell_llm_dynamic_variables: Record<string, string>;
  collected_dynamic_variables: Record<string, unknown>;
  chat_cost: Record<string, unknown> | null;
  chat_analysis: Record<string, unknown> | null;
}

/** Filters of the list. An array is "one of these". */
export interface ListFilter {
  limit?: number;
  cursor?: string;
  [name: string]: FilterValue | undefined;
}
export type FilterValue = string | number | boolean | readonly (string | number)[];

export interface TranscriptQuery {
  /** Messages per page; absent: as many as fit. */
  limit?: number;
  /** Only messages with a higher seq. */
  after_seq?: number;
  /** Only what is new or has changed since this `meta.revision`. */
  after_revision?: string;
  /** Tool calls and their results too; needs the permission write. */
  include?: "tools";
  /** An error instead of the stored copy when Retell does not answer. */
  consistency?: "strong";
}

/** What stands beside the data in every answer, and what its headers say. */
export interface Meta {
  operationId: string;
  /** Such as `12ms`. */
  duration: string;
  /** The server's clock, epoch milliseconds. */
  time?: number;
  /** Whether this is the answer of an earlier request with the same key. */
  replayed: boolean;
}

export interface PageMeta extends Meta {
  count: number;
  cached: boolean;
  hasMore: boolean;
  nextCursor?: string;
}

export interface TranscriptMeta extends Meta {
  cached: boolean;
  stale?: true;
  hasMore?: boolean;
  nextSeq?: number;
  revision?: string;
  /** When asking again makes sense. */
  poll_after_ms?: number;
}

/** The data of an answer, with its meta. */
export type Answered<Data, DataMeta = Meta> = Data & { readonly meta: DataMeta };

export interface ChatPage {
  chats: ListedChat[];
  readonly meta: PageMeta;
}
