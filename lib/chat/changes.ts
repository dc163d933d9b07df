import { type StoredChat, seqAt } from "./model.ts";
import type { Revision } from "./revision.ts";
import type { Message, RemovedMessage } from "./schema.ts";
import { visibleMessages } from "./view.ts";

/**
 * What has changed in a chat since a client has seen it, by the chat's document alone. Messages are only appended, or
 * put in front. The other changes of what is shown are these: the open turn is done or has failed; a text is corrected,
 * which leaves the chat's revision on the message; a failed message is superseded by a later one; all messages are
 * imported, which leaves the revision on the chat.
 */
export interface Changes {
  /** Messages that the client has seen otherwise, or that were put in front; and those that are shown no more. */
  changed: (Message | RemovedMessage)[];
  /** Messages after the last that it has seen. */
  added: Message[];
  /** The seq after which `added` begins. */
  last: number;
}

/** How many removed messages are listed at most: a document has room for fewer, but a client may send any revision. */
const maxRemoved = 65_000;

/**
 * The revision of a client that has seen a chat as it is, up to a message.
 *
 * @param last The seq of the last message that it has seen. Default: all.
 */
export function revisionOf({ messages, internal }: StoredChat, last?: number): Revision {
  const end = seqAt(messages.length - 1, internal);
  const seen = last ?? end;
  const turnId = internal?.turn?.id;
  const index = turnId === undefined ? -1 : messages.findIndex((message) => message.internal?.turn === turnId);
  const open = seqAt(index, internal);
  return {
    number: internal?.revision ?? 0,
    first: seqAt(0, internal),
    last: seen,
    end,
    open: index >= 0 && open <= seen ? open : null,
  };
}

/** What has changed since a revision. One that cannot be compared with the chat gives all of it. */
export function changesSince(chat: StoredChat, since: Revision, withTools: boolean): Changes {
  if (!isComparable(chat, since)) return allOf(chat, since, withTools);
  const shown = visibleMessages(chat, withTools);
  const wasClosed = since.open !== revisionOf(chat).open;
  const isChanged = ({ seq }: Message) => {
    const { changedRevision = 0 } = chat.messages[seq - seqAt(0, chat.internal)]?.internal ?? {};
    return seq < since.first || (wasClosed && seq === since.open) || changedRevision > since.number;
  };
  return {
    changed: [
      ...missingIn(shown, shownAt(chat, since, withTools)),
      ...shown.filter((message) => message.seq <= since.last && isChanged(message)),
    ],
    added: shown.filter(({ seq }) => seq > since.last),
    last: since.last,
  };
}

/** All messages, and what a client may have seen that is not among them. */
export function allOf(chat: StoredChat, { first, last }: Revision, withTools: boolean): Changes {
  const added = visibleMessages(chat, withTools);
  const from = Math.max(first, last - maxRemoved);
  const seen = Array.from({ length: Math.max(0, last - from + 1) }, (_, index) => ({ seq: from + index }));
  return { changed: missingIn(added, seen), added, last: seqAt(0, chat.internal) - 1 };
}

function missingIn(shown: Message[], seen: { seq: number }[]): RemovedMessage[] {
  const seqs = new Set(shown.map(({ seq }) => seq));
  return seen.filter(({ seq }) => !seqs.has(seq)).map(({ seq }) => ({ seq, removed: true }));
}

/**
 * Whether the document shows what was written since: not if the messages were imported since, which numbers them anew,
 * nor if the chat is older than the revision, as after a restore.
 */
const isComparable = ({ internal }: StoredChat, { number }: Revision) =>
  number >= (internal?.importedRevision ?? 0) && number <= (internal?.revision ?? 0);

/** The messages that were shown at a revision, some of them with a later text. */
function shownAt(chat: StoredChat, { first, last, end, open }: Revision, withTools: boolean): Message[] {
  const start = seqAt(0, chat.internal);
  const messages = chat.messages
    .slice(Math.max(0, first - start), Math.max(0, end - start + 1))
    .map((message, index) => {
      // It was pending then. Other failed messages had failed before.
      const { failed: _since, ...internal } = message.internal ?? {};
      return first + index === open ? { ...message, internal } : message;
    });
  const internal = chat.internal && { ...chat.internal, prependedCount: 1 - first };
  const shown = visibleMessages({ messages, ...(internal ? { internal } : {}) }, withTools);
  return shown.filter(({ seq }) => seq <= last);
}
