import type { RetellMessage } from "../../retell/schema.ts";
import { type ChatSnapshot, isUser, type StoredMessage } from "../model.ts";
import { Candidates } from "./candidates.ts";
import { type Differences, differencesOf } from "./differences.ts";
import { Pairs } from "./pairs.ts";
import { type Part, partsOfOurs, partsOfTheirs } from "./parts.ts";

/** A part of Retell's history that our history does not account for. */
export interface NewPart extends Part<RetellMessage> {
  user: RetellMessage;
  /** The send of ours that it is; undefined: somebody else spoke at Retell. */
  owner: StoredMessage | undefined;
}

/** How our history and Retell's correspond. */
export interface Alignment extends Differences {
  /** In Retell's order. */
  newParts: NewPart[];
  /** Failed or open sends of ours that new parts of other senders may be: neither text nor order tells. */
  undecided: Set<StoredMessage>;
  /** How many user messages of ours are known to be delivered. */
  ours: number;
}

/**
 * Finds which entries of Retell's history are which messages of ours, and which are others'. Pure.
 *
 * Delivered messages of ours are found by message_id, then by the agent's reply, then by text, then by their place
 * between others. Of what is left, a user's entry belongs to a send of ours that was not confirmed (a candidate) if it
 * has that send's text. Of the rest, the order decides if there are as many entries as candidates. All other entries
 * are others'.
 *
 * @param isOver        The chat is over at Retell.
 * @param decideByOrder Whether the order may decide yet: while the open turn may still arrive, its own text may come.
 */
export function align(
  chat: ChatSnapshot,
  entries: RetellMessage[],
  isOver: boolean,
  decideByOrder: boolean,
): Alignment {
  const ours = partsOfOurs(chat.messages, chat.internal?.turn);
  const theirs = partsOfTheirs(entries);
  const pairs = new Pairs(ours, theirs);
  pairs.pairByMessageId();
  pairs.pairByReply();
  pairs.pairByText();
  const candidates = new Candidates(chat);
  const { owners } = candidates;
  candidates.assignByText(pairs.unpaired());
  pairs.pairByPlace(owners, isOver);

  const left = pairs.unpaired().filter((part) => !owners.has(part));
  // Where others have spoken before, an unknown text is as likely theirs.
  const isAlone = !chat.messages.some((message) => isUser(message) && !message.internal?.turn);
  const undecided = candidates.assignByOrder(left, decideByOrder && isAlone);
  const newParts = pairs
    .unpaired()
    .flatMap((part) => (part.user ? [{ ...part, user: part.user, owner: owners.get(part) }] : []));
  return { ...differencesOf(chat.messages, ours, theirs, pairs), newParts, undecided, ours: ours.length - 1 };
}
