import type { RetellMessage } from "../../retell/schema.ts";
import { isUser, type StoredMessage, type Turn } from "../model.ts";
import { comparable } from "./text.ts";

/** A user's message and what follows it until the next one. Part 0 of a history, its opening, has no user's message. */
export interface Part<T extends RetellMessage> {
  user: T | undefined;
  rest: T[];
}

/** Our history by delivered user messages. A failed one, and one whose turn is open, begins no part. */
export function partsOfOurs(messages: StoredMessage[], turn: Turn | undefined): Part<StoredMessage>[] {
  const parts: Part<StoredMessage>[] = [{ user: undefined, rest: [] }];
  for (const message of messages) {
    if (!isUser(message)) parts[message.internal?.after ?? parts.length - 1]?.rest.push(message);
    else if (!message.internal?.failed && !(turn && message.internal?.turn === turn.id))
      parts.push({ user: message, rest: [] });
  }
  return parts;
}

/** Retell's history by its user messages. */
export function partsOfTheirs(entries: RetellMessage[]): Part<RetellMessage>[] {
  const parts: Part<RetellMessage>[] = [{ user: undefined, rest: [] }];
  for (const entry of entries) {
    if (isUser(entry)) parts.push({ user: entry, rest: [] });
    else parts.at(-1)?.rest.push(entry);
  }
  return parts;
}

/** The ids that Retell gave to what followed the user's message. */
export const idsOf = ({ rest }: Part<StoredMessage>): string[] =>
  rest.flatMap(({ message_id, internal }) => (message_id === undefined || internal?.hasLocalId ? [] : [message_id]));

/** Whether two lists have ids, and none in common. */
export const areDisjoint = ([ours, theirs]: readonly [string[], string[]]): boolean =>
  ours.length > 0 && theirs.length > 0 && !ours.some((id) => theirs.includes(id));

/** The first thing that the agent said in a part. */
export function agentTextOf({ rest }: Part<RetellMessage>): string | undefined {
  const words = rest.find(({ role }) => role === "agent");
  return words && comparable(words.content);
}

/** Whether the agent said different things in two parts. Of one answer, Retell may show the beginning first. */
export function contradict(one: Part<RetellMessage>, other: Part<RetellMessage>): boolean {
  const [words, others] = [agentTextOf(one), agentTextOf(other)];
  return words !== undefined && others !== undefined && !words.startsWith(others) && !others.startsWith(words);
}
