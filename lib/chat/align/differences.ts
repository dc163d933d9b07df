import type { RetellMessage } from "../../retell/schema.ts";
import type { StoredMessage } from "../model.ts";
import type { Pairs } from "./pairs.ts";
import type { Part } from "./parts.ts";
import { isPrefixOf } from "./text.ts";

/** In what parts that are paired differ. */
export interface Differences {
  /** What Retell has and we lack in parts that both have, by the number of our part (0: the opening). */
  lacking: RetellMessage[][];
  /** Stored entries of which Retell now has more text, and that text. */
  corrections: { message: StoredMessage; content: string }[];
}

export function differencesOf(
  messages: StoredMessage[],
  ours: Part<StoredMessage>[],
  theirs: Part<RetellMessage>[],
  pairs: Pairs,
): Differences {
  const byId = new Map(messages.map((message) => [message.message_id, message]));
  const corrections: Differences["corrections"] = [];
  // A history that has lost its beginning begins in the middle of ours: what stands first is no opening.
  const isWhole = ours.length === 1 || pairs.theirsOf(1) !== undefined;
  const lacking = ours.map((part, i): RetellMessage[] => {
    const j = i === 0 && isWhole ? 0 : pairs.theirsOf(i);
    const other = j === undefined ? undefined : theirs[j];
    if (!other) return [];
    const { user } = other;
    const { found, missing } = matchEntries(part.rest, other.rest, byId);
    // The text of a send of ours is complete.
    const isTheirs = part.user?.message_id !== undefined && part.user.message_id === user?.message_id;
    if (part.user && user && isTheirs && !part.user.internal?.turn) found.push([part.user, user]);
    for (const [message, { content }] of found) {
      // A text that we have shortened stays as it is.
      if (message.internal?.shortened || !isPrefixOf(message.content, content)) continue;
      corrections.push({ message, content });
    }
    return missing;
  });
  return { lacking, corrections };
}

/**
 * Matches what follows a user's message here and there: by message_id, else by tool_call_id, which identifies a call
 * only within its turn, else by its place among the entries of its role. Ids in a completion may differ from those in
 * the history.
 */
function matchEntries(ours: StoredMessage[], theirs: RetellMessage[], byId: Map<string | undefined, StoredMessage>) {
  const found: [StoredMessage, RetellMessage][] = [];
  const known = new Set(theirs.map(({ message_id }) => message_id));
  const left = ours.filter(({ message_id }) => message_id === undefined || !known.has(message_id));
  const take = (entries: RetellMessage[], isSame: (message: StoredMessage, entry: RetellMessage) => boolean) =>
    entries.filter((entry) => {
      const at = left.findIndex((message) => isSame(message, entry));
      const [message] = at < 0 ? [] : left.splice(at, 1);
      if (message) found.push([message, entry]);
      return !message;
    });
  const withoutId = theirs.filter((entry) => {
    const same = entry.message_id === undefined ? undefined : byId.get(entry.message_id);
    if (same) found.push([same, entry]);
    return !same;
  });
  const isSameCall = (message: StoredMessage, entry: RetellMessage) =>
    entry.tool_call_id !== undefined && message.tool_call_id === entry.tool_call_id && message.role === entry.role;
  const missing = take(take(withoutId, isSameCall), (message, entry) => message.role === entry.role);
  return { found, missing };
}
