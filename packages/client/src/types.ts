/** What the API takes and answers, from docs/openapi.json. An answer may have more fields: the API adds some over time. */
import type { components, operations } from "./api.ts";

type Schemas = components["schemas"];
type Query<Name extends "list" | "search" | "analytics" | "transcript" | "export" | "delete"> = NonNullable<
  operations[Name]["parameters"]["query"]
>;

export type ApiErrorCode = Schemas["ErrorCode"];
export type FieldError = Schemas["FieldError"];
export type ChatStatus = Schemas["ChatStatus"];
export type CreateChat = Schemas["CreateChatBody"];
export type CreatedChat = Schemas["CreatedChat"];
export type SentMessage = Schemas["SentMessage"];
export type EndedChat = Schemas["EndedChat"];
export type ListedChat = Schemas["ListedChat"];
export type Transcript = Omit<Schemas["Transcript"], "messages"> & { messages: Message[] };
/**
 * A message of a chat. A pending one may have reached the agent. `removed`: only in an answer to `after_revision`; the
 * message is shown no more, and has nothing but its seq.
 */
export type Message = Exclude<Schemas["Transcript"]["messages"][number], { removed: true }> & { removed?: true };

export type FilterValue = string | number | boolean;
export type Sentiment = "positive" | "negative" | "neutral" | "unknown";

interface FilterValues {
  status: ChatStatus;
  agent_id: string;
  created_by: string;
  end_user_id: string;
  sentiment: Sentiment;
  successful: boolean;
}
/** A Date, epoch ms, or ISO 8601 with an offset. */
type Time = Date | number | string;

/** Which chats. All filters must hold; an array means "one of these", and has one value at least. */
export type ChatFilter = {
  [Name in keyof FilterValues]?: FilterValues[Name] | readonly FilterValues[Name][] | undefined;
} & {
  /** The earliest start, inclusive. */
  started_after?: Time | undefined;
  /** The latest start, exclusive. */
  started_before?: Time | undefined;
  [name: `metadata.${string}`]: FilterValue | readonly FilterValue[] | undefined;
};
/** What is asked for besides the filters. */
type Paging<Name extends "list" | "search"> = Omit<Query<Name>, keyof ChatFilter | "q">;
export type ListFilter = ChatFilter & Paging<"list">;
export type SearchFilter = ChatFilter & Paging<"search">;
export type TranscriptQuery = Query<"transcript">;

/** What stands beside the data in every answer, and what its headers say. */
export type Meta = Schemas["EndAnswer"]["meta"] & {
  /** Whether this is the answer of an earlier request with the same key. */
  replayed: boolean;
};
export type PageMeta = Meta & Schemas["ListAnswer"]["meta"];
export type TranscriptMeta = Meta &
  Schemas["TranscriptAnswer"]["meta"] & {
    /** For `after_revision`. */
    revision?: string;
    /** When asking again makes sense. */
    poll_after_ms?: number;
  };

/** The data of an answer, with its meta. */
export type Answered<Data, DataMeta = Meta> = Data & { readonly meta: DataMeta };

export interface ChatPage {
  chats: ListedChat[];
  readonly meta: PageMeta;
}
/** How many chats there are: `value`, or with `gte` at least so many. */
export type Total = NonNullable<PageMeta["total"]>;

/** A chat with the messages in which the search has found something. */
export type FoundChat = Schemas["SearchAnswer"]["data"][number];
export interface SearchPage {
  chats: FoundChat[];
  readonly meta: Meta & Schemas["SearchAnswer"]["meta"];
}

/** Absent `from` and `to`: the last 30 days. */
export type AnalyticsQuery = Omit<Query<"analytics">, "from" | "to"> & {
  /** The earliest start of a chat, inclusive. */
  from?: Time | undefined;
  /** The latest start, exclusive. */
  to?: Time | undefined;
};
export type Analytics = Schemas["AnalyticsAnswer"]["data"];
export type AnalyticsMeta = Meta & Schemas["AnalyticsAnswer"]["meta"];

export type ExportFileFormat = NonNullable<Query<"export">["format"]>;
export type ChatExportQuery = Omit<Query<"export">, "format">;

export type DeletedChat = Schemas["DeletedChat"];
export type DeleteMeta = Meta & Schemas["DeleteAnswer"]["meta"];

/** An export of many chats. */
export type Export = Schemas["Export"];
export type ExportFormat = Schemas["ExportFormat"];
export interface CreateExport {
  /** Absent: all chats. */
  filter?: ChatFilter;
  format: ExportFormat;
  /** For times that people read, such as `Europe/Berlin`. Absent: UTC. */
  timezone?: string;
}
