import type { RetellMessage } from "../retell/schema.ts";
import { hasGap, isNothing } from "./merge.ts";
import type { ChatStatus } from "./schema.ts";

/** A request's Idempotency-Key as it is stored: digests, never the key itself. */
export interface IdempotencyKey {
  /** The same for the same caller, method, path and key. */
  id: string;
  /** The same for the same body, as parsed. A key that comes with another body is refused. */
  hash: string;
}

/** A message as it is stored: Retell's entry, and what is private to us. Without `internal` the old server wrote it. */
export interface StoredMessage extends RetellMessage {
  internal?: {
    /** The turn that it belongs to. */
    turn?: string;
    /** On a user's message: what its sender's Idempotency-Key stands for. Free again when the message has failed. */
    key?: string;
    /** Of the body that came with the key. */
    hash?: string;
    /** Its id is ours, since Retell gave none when we learned of it. */
    hasLocalId?: true;
    /** On a user's message: it was not delivered, as far as is known. */
    failed?: true;
    /** On a failed message: Retell did not refuse it, so it may be delivered late. */
    mayArrive?: true;
    /** On a failed message that may arrive: when its turn began (epoch ms, server clock). */
    sentAt?: number;
    /** On a failed message: Retell has an entry that may be this one, or somebody else's. Its key stays taken. */
    undecided?: true;
    /** Learned of later: the number of the delivered user message of ours that it follows. */
    after?: number;
    /** It was too large to be stored whole. */
    shortened?: true;
    /** On a user's message that Retell had after all: the turn of the failed message that it is. */
    supersedes?: string;
  };
}

/** A send on its way. Absent: the chat is idle. */
export interface Turn {
  id: string;
  /** Of the request that sends it. */
  operationId: string;
  /** `unknown`: Retell gave no clear answer. `sending` for longer than the lease: whoever sent it has died. */
  state: "sending" | "unknown";
  /** Server clock. */
  at: Date;
  /** When the outcome became unknown, server clock. */
  markedAt?: Date;
  /** Retell refused it: absence in its history is then final. */
  refusedByRetell?: true;
  /** Retell failed with a 500: it has finished, though its history may lag. */
  failedByRetell?: true;
}

/**
 * What is left of a chat that is given up: a tombstone. It holds the chat's place under the unique index, so that
 * nothing stores the chat again, and no read shows it.
 */
export interface Tombstone {
  at: Date;
  /** `orphan`: at Retell, and stored by no create; `unstored`: its create could not store it; `deleted`: by a client. */
  why: "orphan" | "unstored" | "deleted";
  /** Since when it is known to be over at Retell. Absent: the sweep ends it. */
  endedAt?: Date;
}

/** The chat document: the fields of the server that this one replaces, and ours under `internal`. */
export interface StoredChat {
  chat_id: string;
  agent_id: string;
  chat_status: ChatStatus;
  /** Epoch ms. */
  start_timestamp: number;
  end_timestamp: number | null;
  /** Written when the chat is over; until then it is composed from the messages. */
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
  /** Absent on a chat of the old server until it is adopted. Never leaves lib/chat. */
  internal?: {
    /** +1 in each write of messages or turn: what a reader decided on is what it writes to. */
    revision: number;
    /** How many `user` entries of Retell's history ours accounts for. */
    retellUserCount: number;
    /** The create that it came of, when that had an Idempotency-Key. */
    request?: string;
    /** How many messages it was created with. */
    opening?: number;
    /** Opening messages that were put in front later: a message's seq is its index + 1 - base. */
    prependedCount?: number;
    turn?: Turn;
    /** Turns whose sender has given up before BEGIN was answered: they begin no more. */
    cancelled?: string[];
    /** The turn in which the agent ended the chat. */
    endedIn?: string;
    /** Turns with a key whose first request is finding out whether the agent has ended the chat in them. */
    endPending?: string[];
    /** It has ended before Retell's history could be imported: whoever comes next imports it. */
    importPending?: true;
    /** Its history does not fit into this document. */
    overflows?: true;
    /** When an end was asked for that Retell did not make, server clock. */
    endRequestedAt?: Date;
    /** When the sweep looks next. */
    nextSweepAt?: Date;
    /** Since when Retell has refused each read of the sweep's. */
    refusedSince?: Date;
    /** The document is a tombstone. */
    tombstone?: Tombstone;
    /** `key=value` of the scalars in metadata, for filtering. */
    tags?: string[];
  };
}

/** A chat as it was read, with the server's clock at that moment. */
export type ReadChat = StoredChat & { now: Date };

/**
 * A chat as it was found: others write into the collection too. What is no message keeps its place, so that the seq of
 * those behind it stays.
 */
export function readable<Chat extends StoredChat>(chat: Chat): Chat {
  const found: unknown = chat.messages;
  return { ...chat, messages: Array.isArray(found) ? found.map(readableMessage) : [] };
}

function readableMessage(found: unknown): StoredMessage {
  const { role, content, message_id, created_timestamp, ...more } = Object(found);
  if (typeof role !== "string") return { role: "unreadable" };
  const isText = typeof content === "string";
  return {
    ...(typeof message_id === "string" ? { message_id } : {}),
    role,
    ...(content === undefined || content === null ? {} : { content: isText ? content : JSON.stringify(content) }),
    ...(typeof created_timestamp === "number" ? { created_timestamp } : {}),
    ...more,
  };
}

/** An entry as it is stored: it keeps Retell's id, or gets one of ours. */
export function toStoredMessage(entry: RetellMessage, turn?: string): StoredMessage {
  // Always there, as messages without it are the old server's.
  const internal = { ...(turn ? { turn } : {}), ...(entry.message_id ? {} : { hasLocalId: true as const }) };
  const { content } = entry;
  return {
    ...entry,
    // MongoDB stores half of a surrogate pair as another character.
    ...(content === undefined ? {} : { content: content.toWellFormed() }),
    message_id: entry.message_id ?? newMessageId(),
    created_timestamp: entry.created_timestamp ?? Date.now(),
    internal,
  };
}

/** What a user says, as it is stored before Retell hears it. */
export function userMessage(
  content: string,
  turnId: string,
  idempotency: IdempotencyKey | undefined,
): StoredMessage & { message_id: string } {
  return {
    message_id: newMessageId(),
    role: "user",
    content,
    created_timestamp: Date.now(),
    internal: {
      turn: turnId,
      hasLocalId: true,
      ...(idempotency ? { key: idempotency.id, hash: idempotency.hash } : {}),
    },
  };
}

export const newMessageId = () => `msg_${crypto.randomUUID()}`;

export const isUser = ({ role }: { role: string }) => role === "user";

/** How many of these count: what a person would call messages. */
export const countOf = (messages: StoredMessage[]) =>
  messages.filter(({ role, internal }) => (role === "agent" || role === "user") && !internal?.failed).length;

/** Whether Retell has told of a chat that is over all that it tells afterwards, with no placeholder in it. */
export function isComplete({ chat_analysis, chat_cost }: Pick<StoredChat, "chat_analysis" | "chat_cost">): boolean {
  return !isNothing(chat_analysis) && !hasGap(chat_analysis) && typeof chat_cost?.combined_cost === "number";
}

/**
 * Whether the messages of a chat are ours. The old server leaves `internal` out of a chat. In one that was moved to us
 * it keeps the chat's, and replaces all messages by those of its last turn, which have none.
 */
export function isImported({ internal, messages: [first] }: Pick<StoredChat, "internal" | "messages">): boolean {
  if (internal?.retellUserCount === undefined) return false;
  return first ? first.internal !== undefined : internal.retellUserCount === 0 && !internal.opening;
}

/**
 * Whether Retell's history is still to be imported: the old server keeps only the last turn's messages. A chat that has
 * ended under the old server keeps the messages that it has.
 */
export const needsImport = (chat: ReadChat) =>
  !isImported(chat) && (chat.chat_status === "ongoing" || chat.internal?.importPending === true);

/** Whether a turn is in the hands of a sender that may still be alive. */
export function isLive(turn: Turn | undefined, now: Date, leaseMs: number): boolean {
  return turn?.state === "sending" && now.getTime() - turn.at.getTime() < leaseMs;
}
