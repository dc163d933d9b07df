import type { Entry, History } from "../retell/schema.ts";
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

  const lacking = lackingOf(chat.messages, entries);
  if (users > heard) {
    const before = saidBefore(chat.messages, entries, heard);
    if (before) return { kind: "append", entries: adopted(chat, before), heard: users };
    // What the agent said before somebody spoke again, first: it would stand behind them for good.
    const tail = (lacking[heard] ?? []).map((entry) => stored(entry));
    const news = entries.slice(indexOfUser(entries, heard));
    return { kind: "append", entries: [...tail, ...adopted(chat, news)], heard: users };
  }

  const [opening = []] = lacking;
  // Nobody has said anything yet: the opening is the end of the history, like any tail.
  if (opening.length > 0 && lacking.length > 1)
    return { kind: "front", entries: opening.map((entry) => stored(entry)) };
  const late = lacking.flatMap((part, ordinal) => part.map((entry) => placed(entry, ordinal)));
  return late.length > 0 ? { kind: "append", entries: late, heard } : { kind: "none" };
}

/**
 * What was said before a send of ours that is done, and that we did not know of: by somebody else, or by a send that we
 * had given up. By their ordinals it would be taken for ours, and ours for news. Undefined unless ids tell every part
 * for sure, as an id in a reply need not be the id in the history.
 */
function saidBefore(messages: StoredMessage[], entries: Entry[], heard: number): Entry[] | undefined {
  const isNew = notIn(messages);
  const said: Entry[][] = [];
  for (const entry of entries) {
    if (isUser(entry)) said.push([entry]);
    else said.at(-1)?.push(entry);
  }
  const isOurs = ([, ...reply]: Entry[]) => reply.length > 0 && !reply.some(isNew);
  const others = said.filter(([, ...reply]) => reply.every(isNew));
  const isSure = others.length === said.length - heard && said.filter(isOurs).length === heard;
  return isSure && said.slice(heard).some(isOurs) ? others.flat() : undefined;
}

/**
 * Entries of Retell's as ours: sent by the old server, the dashboard, or by a send that we gave up. In that last case the
 * failed message of ours with the same content, oldest first, is the same message: its turn and its key are theirs, so
 * that a repeat finds the answer.
 */
function adopted({ messages }: ReadChat, entries: Entry[]): StoredMessage[] {
  const done = new Set(messages.map(({ internal }) => internal?.supersedes));
  const failed = messages.filter(({ internal }) => internal?.failed && !done.has(internal.turn));
  let sent: StoredMessage["internal"];
  return entries.map((entry) => {
    if (!isUser(entry)) return stored(entry, sent?.turn);
    const same = failed.findIndex(({ content }) => content === entry.content);
    sent = same >= 0 ? failed.splice(same, 1)[0]?.internal : undefined;
    const message = stored(entry, sent?.turn);
    if (!sent?.turn) return message;
    const { turn, key, hash } = sent;
    return { ...message, internal: { ...message.internal, supersedes: turn, ...(key && hash ? { key, hash } : {}) } };
  });
}

/**
 * What Retell has and we lack, by the user message that it follows (0: none). Entries are matched by message_id, else
 * by tool_call_id and role, over the whole chat; of the rest, per part and role, by their number: nothing says that
 * an id in a reply is the id in the history, and ids may be missing.
 */
function lackingOf(messages: StoredMessage[], entries: Entry[]): Entry[][] {
  const left = parts(messages.filter(notIn(entries)), messages);
  return parts(entries.filter(notIn(messages)), entries).map((part, ordinal) => {
    const ours = left[ordinal] ?? [];
    return part.filter(({ role }) => {
      const same = ours.findIndex((message) => message.role === role);
      if (same >= 0) ours.splice(same, 1);
      return same < 0;
    });
  });
}

/** Whether a list holds an entry, as far as ids tell. */
function notIn(others: (StoredMessage | Entry)[]): (entry: StoredMessage | Entry) => boolean {
  const ids = new Set(others.map(({ message_id }) => message_id));
  const calls = new Set(others.map(({ tool_call_id, role }) => tool_call_id && `${role} ${tool_call_id}`));
  return ({ message_id, tool_call_id, role }) =>
    !(message_id && ids.has(message_id)) && !(tool_call_id && calls.has(`${role} ${tool_call_id}`));
}

/** Some entries of a chat, users' apart, by how many delivered user messages of it stand before them. */
function parts<T extends StoredMessage | Entry>(some: T[], whole: T[]): T[][] {
  const chosen = new Set(some);
  const found: T[][] = [[]];
  for (const entry of whole) {
    if (isDelivered(entry)) found.push([]);
    const ordinal = (entry as StoredMessage).internal?.after ?? found.length - 1;
    if (!isUser(entry) && chosen.has(entry)) found[ordinal]?.push(entry);
  }
  return found;
}

/** An entry that we learn of after its turn stands at the end, and says where it belongs. */
function placed(entry: Entry, ordinal: number): StoredMessage {
  const message = stored(entry);
  return { ...message, internal: { ...message.internal, after: ordinal } };
}

function indexOfUser(entries: Entry[], ordinal: number): number {
  let seen = -1;
  return entries.findIndex((entry) => {
    if (isUser(entry)) seen += 1;
    return seen === ordinal;
  });
}

const isDelivered = (message: StoredMessage | Entry) => isUser(message) && !(message as StoredMessage).internal?.failed;
