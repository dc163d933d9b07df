import type { Entry, History } from "../retell/client.ts";
import { isUser, type ReadChat, type StoredMessage, stored } from "./document.ts";

/** The next thing to write so that our history agrees with Retell's. */
export type Step =
  /** They agree. */
  | { kind: "none" }
  /** A turn is open, and nothing can be said of it yet. */
  | { kind: "later" }
  /** The open turn never reached Retell; `unverified`: there is no history that could tell. */
  | { kind: "fail"; reason: "absent" | "unverified" }
  /** Opening messages that we learn of after the first send. */
  | { kind: "front"; entries: StoredMessage[] }
  /** Entries to append, none perhaps; the open turn, if any, is done. */
  | { kind: "append"; entries: StoredMessage[]; heard: number };

/**
 * Compares our chat with Retell's history, which was read after it. Pure.
 *
 * Sends are matched by their ordinal among the entries with role `user`, never by content: people say "ok" twice,
 * guardrails replace what was said, scrubbing rewrites it.
 *
 * @param history    What get-chat answered; undefined when it has no such chat (any more).
 * @param settleMs   For how long absence in Retell's history proves nothing.
 * @param finishedMs The same for a turn that Retell answered with a 500.
 */
export function reconcile(
  chat: ReadChat,
  history: Pick<History, "chat_status" | "message_with_tool_calls"> | undefined,
  { settleMs, finishedMs }: { settleMs: number; finishedMs: number },
): Step {
  const turn = chat.internal?.turn;
  const heard = chat.internal?.heard ?? 0;
  const over = history !== undefined && history.chat_status !== "ongoing";
  const entries = history?.message_with_tool_calls;
  const users = entries?.filter(isUser).length ?? 0;

  const age = turn && chat.now.getTime() - (turn.finished ? (turn.markedAt ?? turn.at) : turn.at).getTime();
  const isOld = age !== undefined && age > (turn?.finished ? finishedMs : settleMs);

  // Storage off, retention passed, or not the history that we know: it tells nothing.
  if (!entries || users < heard) {
    if (!turn) return { kind: "none" };
    return over || turn.answered || isOld ? { kind: "fail", reason: "unverified" } : { kind: "later" };
  }

  if (turn) {
    if (users <= heard) return over || turn.answered || isOld ? { kind: "fail", reason: "absent" } : { kind: "later" };
    const reply = entries.slice(indexOfUser(entries, heard) + 1);
    // Retell may show the user's message first and the reply later, in pieces: an agent's word is its end.
    if (!reply.some(({ role }) => role === "agent") && !over && !isOld) return { kind: "later" };
    return { kind: "append", entries: reply.map((entry) => stored(entry, turn.id)), heard: users };
  }

  if (users > heard) return { kind: "append", entries: adoptFrom(chat, entries, heard), heard: users };

  const front = opening(chat, entries);
  if (front.length > 0) return { kind: "front", entries: front };
  const tail = lacking(afterLastUser(chat.messages), afterLastUser(entries)).map((entry) => stored(entry));
  return tail.length > 0 ? { kind: "append", entries: tail, heard } : { kind: "none" };
}

/**
 * What Retell has from its user entry number `heard` on: sent by the old server, the dashboard, or by a send that we
 * gave up. In that last case the failed message of ours with the same content, oldest first, is the same message.
 */
function adoptFrom({ messages }: ReadChat, entries: Entry[], heard: number): StoredMessage[] {
  const done = new Set(messages.map(({ internal }) => internal?.supersedes));
  const failed = messages.filter(({ internal }) => internal?.failed && !done.has(internal.turn));
  return entries.slice(indexOfUser(entries, heard)).map((entry) => {
    const message = stored(entry);
    const same = isUser(entry) ? failed.findIndex(({ content }) => content === entry.content) : -1;
    const turn = same >= 0 ? failed.splice(same, 1)[0]?.internal?.turn : undefined;
    return turn ? { ...message, internal: { ...message.internal, supersedes: turn } } : message;
  });
}

/** Entries ahead of the first user message that we lack, when ours already has a user message to put them before. */
function opening({ messages }: ReadChat, entries: Entry[]): StoredMessage[] {
  const ours = beforeFirstUser(messages);
  if (ours.length === messages.length) return []; // no user message yet: they are appended like any tail
  return lacking(ours, beforeFirstUser(entries)).map((entry) => stored(entry));
}

/**
 * The entries of `theirs` that `ours` lacks: by message_id, else by tool_call_id and role, else by position. Nothing
 * says that an id in a reply is the id in the history, so ids that differ do not make two entries of one.
 */
function lacking(ours: StoredMessage[], theirs: Entry[]): Entry[] {
  const left = [...ours];
  const take = (matches: (message: StoredMessage) => boolean) => {
    const index = left.findIndex(matches);
    if (index >= 0) left.splice(index, 1);
    return index >= 0;
  };
  const unmatched = theirs.filter(
    (entry) =>
      !(entry.message_id && take((message) => message.message_id === entry.message_id)) &&
      !(entry.tool_call_id && take((m) => m.tool_call_id === entry.tool_call_id && m.role === entry.role)),
  );
  return unmatched.filter((entry) => !take((message) => message.role === entry.role));
}

function indexOfUser(entries: Entry[], ordinal: number): number {
  let seen = -1;
  return entries.findIndex((entry) => {
    if (isUser(entry)) seen += 1;
    return seen === ordinal;
  });
}

const isDelivered = (message: StoredMessage | Entry) => isUser(message) && !(message as StoredMessage).internal?.failed;

function afterLastUser<T extends StoredMessage | Entry>(entries: T[]): T[] {
  return entries.slice(entries.findLastIndex(isDelivered) + 1).filter((entry) => !isUser(entry));
}

function beforeFirstUser<T extends StoredMessage | Entry>(entries: T[]): T[] {
  const first = entries.findIndex(isUser);
  return first < 0 ? entries : entries.slice(0, first);
}
