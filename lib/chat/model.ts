import type { RetellMessage } from "../retell/schema.ts";
import { hasGap, isEmpty } from "./merge.ts";
import type { ChatStatus, Sentiment } from "./schema.ts";
import { leaseMs } from "./timing.ts";

/** A request's Idempotency-Key as it is stored: digests, never the key itself. */
export interface IdempotencyKey {
  /** The same for the same caller, method, path and key. */
  id: string;
  /** The same for the same body, as parsed. A key that comes with another body is refused. */
  hash: string;
}

/** A message as it is stored: Retell's entry and our private fields. One without `internal` is the old server's. */
export interface StoredMessage extends RetellMessage {
  /** On a user's message: the client's own id of it, shown as it is. */
  client_message_id?: string;
  internal?: {
    /** The turn that it belongs to. */
    turn?: string;
    /** On a user's message: the digest of its Idempotency-Key. The key is free again when the message has failed. */
    key?: string;
    /** The digest of the body that came with the key. */
    hash?: string;
    /** Its id is ours: Retell gave none when it was stored. */
    hasLocalId?: true;
    /** On a user's message: it was not delivered, as far as we know. */
    failed?: true;
    /** On a failed message: Retell did not refuse it, so it may be delivered late. */
    mayArrive?: true;
    /** On a failed message that may arrive: when its turn began (epoch ms, server clock). */
    sentAt?: number;
    /** On a failed message: Retell has an entry that may be this one, or somebody else's. Its key stays taken. */
    undecided?: true;
    /** On an entry that was stored after its turn: the number of our delivered user message that it follows. */
    after?: number;
    /** It was too large to be stored whole. */
    shortened?: true;
    /** The chat's revision at which what is shown of it was corrected. */
    changedRevision?: number;
    /** On a user's message that Retell had after all: the turn of the failed message that it replaces. */
    supersedes?: string;
  };
}

/** A send whose outcome is not stored yet. */
export interface Turn {
  id: string;
  /** Of the request that sends it. */
  operationId: string;
  /** `unknown`: Retell gave no clear answer. `sending` for longer than the lease: its sender has died. */
  state: "sending" | "unknown";
  /** Server clock. */
  at: Date;
  /** When the outcome became unknown, server clock. */
  markedAt?: Date;
  /** Retell refused it: then absence in its history is final. */
  refusedByRetell?: true;
  /** Retell answered a 500: it has finished, though its history may lag. */
  failedByRetell?: true;
}

/**
 * What is left of a chat that was given up. It keeps the chat's entry in the unique index, so that nothing stores the
 * chat again, and no read returns it.
 */
export interface Tombstone {
  at: Date;
  /** `orphan`: found at Retell, stored nowhere; `unstored`: its create could not store it; `deleted`: by a client. */
  why: "orphan" | "unstored" | "deleted";
  /** Since when it is known to be over at Retell. Absent: the sweep ends it there. */
  endedAt?: Date;
  /** A client wants Retell's copy deleted, too. `pending`: the sweep deletes it there. */
  atRetell?: "pending" | "deleted";
}

/**
 * What analytics and filters know of a chat that is over (stats.ts). It is written with the chat's end and with what is
 * learnt after it, never by a send: until the sweep looks, it may lack the reply of a turn that ended after the chat.
 */
export interface ChatStats {
  /** Of agent and user, failed ones not counted. */
  messages: number;
  /** Null where it is unknown. */
  duration_ms: number | null;
  /** US cents; null where it is unknown. */
  cost: number | null;
  /** How many answers of the agent were timed. */
  replies: number;
  /** The sum of their times. */
  reply_ms: number;
  sentiment: Sentiment;
  successful: "yes" | "no" | "unknown";
}

/** The chat document: the fields of the old server, and ours under `internal`. */
export interface StoredChat {
  chat_id: string;
  agent_id: string;
  chat_status: ChatStatus;
  /** Epoch ms. */
  start_timestamp: number;
  end_timestamp: number | null;
  /** Stored when the chat is over; until then it is composed from the messages. */
  transcript: string;
  /** Messages of agent and user, failed ones not counted. */
  message_count: number;
  messages: StoredMessage[];
  metadata: Record<string, unknown>;
  retell_llm_dynamic_variables: Record<string, string>;
  collected_dynamic_variables: Record<string, unknown>;
  chat_cost: Record<string, unknown> | null;
  chat_analysis: Record<string, unknown> | null;
  subaccountId: string;
  createdBy: string;
  createdAt: Date;
  updatedAt: Date;
  lastMessageAt: Date;
  endedAt?: Date;
  operationId: string;
  retellAccountId: string;
  /** For whom the chat is, in the caller's words. */
  end_user_id?: string;
  /** Absent on a legacy chat until it is imported. Never leaves lib/chat. */
  internal?: {
    /** +1 with each write of messages or turn. A write that was decided on a reading names its revision. */
    revision: number;
    /** The revision at which all messages were imported, and got their seq. */
    importedRevision?: number;
    /** The revision at which the chat's end, or what is known of it, was last changed. */
    endingRevision?: number;
    /** How many `user` entries of Retell's history our messages account for. */
    retellUserCount: number;
    /** The name of the create that it came of, if that had an Idempotency-Key. */
    request?: string;
    /** How many messages it had when it was created. */
    opening?: number;
    /** How many opening messages were put in front later. A message's seq is its index + 1 - prependedCount. */
    prependedCount?: number;
    /** The open turn. Absent: the chat is idle. */
    turn?: Turn;
    /** Turns whose sender gave up before BEGIN was answered: they must not begin any more. */
    cancelled?: string[];
    /** The turn in which the agent ended the chat. */
    endedIn?: string;
    /** Turns with a key whose first request is checking whether the agent has ended the chat in them. */
    endPending?: string[];
    /** It ended before Retell's history could be imported: the next reader imports it. */
    importPending?: true;
    /** Its history at Retell does not fit into this document. */
    overflows?: true;
    /** When a client asked for an end that failed, server clock. */
    endRequestedAt?: Date;
    /** When the sweep looks next. */
    nextSweepAt?: Date;
    /** The sweep reads it at Retell then, though nothing seems to be missing. */
    readAgain?: true;
    /** Since when Retell has refused every read of the sweep. */
    refusedSince?: Date;
    /** The document is a tombstone. */
    tombstone?: Tombstone;
    /** The revision at which the sweep indexed the whole chat for the search. */
    wordsRevision?: number;
    /** `key=value` of the end user and the scalars in metadata, for filtering: see tags.ts. */
    tags?: string[];
    /** Absent while the chat is ongoing, and on chats that were over before stats were stored. */
    stats?: ChatStats;
  };
}

/** A chat as it was read, with the server's clock at that moment. */
export type ChatSnapshot = StoredChat & { now: Date };

/** The seq of the message at an index of the stored list. Messages that were put in front have a seq of 0 and below. */
export const seqAt = (index: number, internal: StoredChat["internal"]) => index + 1 - (internal?.prependedCount ?? 0);

export const isUser = ({ role }: { role: string }) => role === "user";

/** Whether a message is part of the conversation, and not a tool call, its result or of a role that we do not know. */
export const isAgentOrUser = ({ role }: { role: string }) => role === "agent" || role === "user";

/** How many of these are messages of agent and user, failed ones not counted. */
export const countOf = (messages: StoredMessage[]) =>
  messages.filter((message) => isAgentOrUser(message) && !message.internal?.failed).length;

/** Whether analysis and cost of a chat that is over are complete, without placeholders. */
export function isComplete({ chat_analysis, chat_cost }: Pick<StoredChat, "chat_analysis" | "chat_cost">): boolean {
  return !isEmpty(chat_analysis) && !hasGap(chat_analysis) && typeof chat_cost?.combined_cost === "number";
}

/**
 * Whether the messages of a chat are ours. A chat of the old server has no `internal`. If the old server writes into one
 * of ours, it keeps the chat's `internal`, and replaces all messages by those of its last turn, which have none.
 */
export function isImported({ internal, messages: [first] }: Pick<StoredChat, "internal" | "messages">): boolean {
  if (internal?.retellUserCount === undefined) return false;
  return first ? first.internal !== undefined : internal.retellUserCount === 0 && !internal.opening;
}

/**
 * Whether Retell's history is still to be imported, as the old server keeps only the last turn's messages. A chat that
 * ended under the old server keeps the messages that it has. One that was ours before the old server overwrote it is
 * imported again, also after its end.
 */
export const needsImport = (chat: ChatSnapshot) =>
  !isImported(chat) &&
  (chat.chat_status === "ongoing" ||
    chat.internal?.importPending === true ||
    chat.internal?.retellUserCount !== undefined);

/** Whether the sender of a turn may still be alive. */
export function isLive(turn: Turn | undefined, now: Date): boolean {
  return turn?.state === "sending" && now.getTime() - turn.at.getTime() < leaseMs();
}
