/** What the API takes and answers, from docs/openapi.json. An answer may have more fields: the API adds some over time. */
import type { components, operations } from "./api.ts";

type Schemas = components["schemas"];
type Query<Name extends "list" | "transcript"> = NonNullable<operations[Name]["parameters"]["query"]>;

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
/** Filters of the list. An array means "one of these". */
export type ListFilter = {
  [Name in keyof Query<"list">]: Query<"list">[Name] | readonly FilterValue[];
} & { [name: `metadata.${string}`]: FilterValue | readonly FilterValue[] | undefined };
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
