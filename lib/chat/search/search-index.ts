import type { TenantContext } from "../../access/tenant.ts";
import type { ChatFilter } from "../find/filter.ts";
import type { StoredChat, StoredMessage } from "../model.ts";
import type { FoundChat } from "../store/chats.ts";
import type { Match } from "./matches.ts";
import type { Term } from "./query.ts";
import type { SearchPosition } from "./schema.ts";

/** What the index must know of a chat. */
export type IndexedChat = Pick<StoredChat, "chat_id" | "start_timestamp">;

/** A message with its place in the chat. */
export type NumberedMessage = StoredMessage & { seq: number };

/** What is searched for, and where. */
export interface Search {
  terms: Term[];
  /** Which chats are asked for. */
  filter: ChatFilter;
  /** Chats, at most. */
  limit: number;
  /** Where the page before has ended. */
  from?: SearchPosition | undefined;
}

/** Chats that were found, newest first. */
export interface SearchPage {
  chats: (FoundChat & { matches: Match[] })[];
  /** Where the next page begins; absent: there is none. */
  next?: SearchPosition;
  /** It stopped at a limit: the page may be short, and `next` goes on. */
  isPartial: boolean;
}

/**
 * An index of what was said. It may lag: a chat's messages are found a moment after they are stored, and what a crash
 * left out is found after the next rebuild. It never returns what the chat's document does not have.
 */
export interface SearchIndex {
  /** Adds what some messages say. Repeating it changes nothing. */
  add(tenant: TenantContext, chat: IndexedChat, messages: NumberedMessage[]): Promise<void>;
  /** Indexes the whole of these chats anew. */
  rebuild(tenant: TenantContext, chats: StoredChat[]): Promise<void>;
  /** Removes all that was indexed of a chat. */
  remove(tenant: TenantContext, chatId: string): Promise<void>;
  find(tenant: TenantContext, search: Search): Promise<SearchPage>;
}
