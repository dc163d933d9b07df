import type { RetellMessage } from "../retell/schema.ts";
import { isUser, type ReadChat, type StoredMessage, type Turn } from "./model.ts";

/** A user entry and what follows it until the next one. Part 0 of a history, its opening, has no user entry. */
interface Part<T extends RetellMessage> {
  user: T | undefined;
  rest: T[];
}

/** A part of Retell's history that our history does not account for. */
export interface NewPart extends Part<RetellMessage> {
  user: RetellMessage;
  /** The send of ours that it is; undefined: somebody else spoke at Retell. */
  owner: StoredMessage | undefined;
}

/** How our history and Retell's correspond. */
export interface Alignment {
  /** What Retell has and we lack in parts that both have, by the number of our part (0: the opening). */
  lacking: RetellMessage[][];
  /** Stored entries of which Retell now has more text, and that text. */
  corrections: { message: StoredMessage; content: string }[];
  /** In Retell's order. */
  news: NewPart[];
  /** Failed or open sends of ours that new parts of other senders may be: texts and numbers do not tell. */
  undecided: Set<StoredMessage>;
  /** User messages of ours that are known to be delivered. */
  ours: number;
}

/** A send that Retell takes up does not carry an earlier time, nor one of hours later. Clocks may differ by minutes. */
const earliestMs = -5 * 60_000;
const latestMs = 60 * 60_000;
/** Between BEGIN and Retell's taking up what was sent. */
const replacedMs = 3_000;
/** Between the clocks of two servers. */
const clocksMs = 1_000;

/** Text as it is compared: Retell may trim it, change its line ends or compose its characters differently. */
export const normalized = (text: unknown) =>
  typeof text === "string" ? text.toWellFormed().normalize("NFC").replace(/\s+/g, " ").trim() : "";

/**
 * Finds which entries of Retell's history are which messages of ours, and whose the others are. Pure.
 *
 * Delivered messages of ours are found by message_id, then by the agent's reply, then by text, then by their place between
 * others. Of what is left, a user entry belongs to a send of ours that was not confirmed (a candidate) if it has that
 * send's text. Of the rest, the order decides if there are as many entries as candidates. Everything else was said by
 * others.
 *
 * @param isOver        The chat is over at Retell.
 * @param decideByOrder Whether order may decide yet: as long as the open turn may still arrive, its text may, too.
 */
export function align(chat: ReadChat, entries: RetellMessage[], isOver: boolean, decideByOrder: boolean): Alignment {
  const turn = chat.internal?.turn;
  const ours = partsOfOurs(chat.messages, turn);
  const theirs = partsOfTheirs(entries);
  const pairs = new Pairs(ours, theirs);
  pairs.byMessageId();
  pairs.byReply();
  pairs.byText();
  const candidates = candidatesOf(chat, turn);
  const owners = new Map<Part<RetellMessage>, StoredMessage>();
  const isPlausible = plausibleFor(turn);
  giveByText(pairs.left(), candidates, owners, turn, isPlausible);
  pairs.byPlace(owners, isOver);

  const left = pairs.left().filter((part) => !owners.has(part));
  const open = candidates.filter((candidate) => ![...owners.values()].includes(candidate));
  // Where others have spoken before, an unknown text is as likely theirs.
  const isAlone = !chat.messages.some((message) => isUser(message) && !message.internal?.turn);
  const undecided = giveByOrder(left, open, owners, turn, decideByOrder && isAlone);
  const news = pairs
    .left()
    .flatMap((part) => (part.user ? [{ ...part, user: part.user, owner: owners.get(part) }] : []));
  return { ...pairs.differences(chat.messages), news, undecided, ours: ours.length - 1 };
}

/** Sends that Retell may have got though it did not confirm them: the open turn, and those that were given up. */
function candidatesOf({ messages }: ReadChat, turn: Turn | undefined): StoredMessage[] {
  const found = new Set(messages.map(({ internal }) => internal?.supersedes));
  const sent = messages.filter(({ internal }) => !internal?.failed || internal.mayArrive);
  const lastOf = new Map(sent.map((message) => [message.internal?.key, message]));
  return messages.filter((message) => {
    const { turn: id, mayArrive, key } = message.internal ?? {};
    if (!isUser(message) || id === undefined || found.has(id)) return false;
    // A send that was repeated with its key is waited for under the repeat's turn.
    return id === turn?.id || (mayArrive === true && (key === undefined || lastOf.get(key) === message));
  });
}

type Owners = Map<Part<RetellMessage>, StoredMessage>;
type Plausible = (part: Part<RetellMessage> | undefined, candidate: StoredMessage) => boolean;

/**
 * Each entry goes to one send at most. Among equal texts it is the send that was made soonest before it; where times do not
 * tell, the open turn comes first, as the others were given up long ago, and then the order.
 */
function giveByText(
  left: Part<RetellMessage>[],
  candidates: StoredMessage[],
  owners: Owners,
  turn: Turn | undefined,
  isPlausible: Plausible,
): void {
  for (const [text, same] of groupBy(candidates, ({ content }) => normalized(content))) {
    const spoken = left.filter(({ user }) => normalized(user?.content) === text);
    const isOpen = ({ internal }: StoredMessage) => internal?.turn === turn?.id;
    const first = spoken.length < same.length ? same.filter(isOpen) : [];
    const inOrder = [...first, ...same.filter((one) => !first.includes(one))];
    const pairs = inOrder.flatMap((candidate) =>
      spoken.flatMap((part) => {
        const wait = waitOf(part, candidate, turn);
        return wait === undefined || !isPlausible(part, candidate) ? [] : [{ candidate, part, wait }];
      }),
    );
    const taken = new Set<StoredMessage>();
    for (const { candidate, part } of pairs.sort((a, b) => a.wait - b.wait)) {
      if (taken.has(candidate) || owners.has(part)) continue;
      owners.set(part, candidate);
      taken.add(candidate);
    }
  }
}

/** How long (ms) after a send an entry came: 0 for right after. Undefined: it was there before, by servers' clocks. */
function waitOf(part: Part<RetellMessage>, candidate: StoredMessage, turn: Turn | undefined): number | undefined {
  const at = part.user?.created_timestamp;
  const sentAt = sentAtOf(candidate, turn);
  if (at === undefined || sentAt === undefined) return 0;
  const ms = at - sentAt;
  const isByServers = candidate.internal?.turn === turn?.id || candidate.internal?.sentAt !== undefined;
  return ms < -clocksMs && isByServers ? undefined : Math.max(0, Math.abs(ms) - replacedMs);
}

/** When a send was made: of an open turn, and of one that was given up since, by MongoDB's clock. */
const sentAtOf = ({ internal, created_timestamp }: StoredMessage, turn: Turn | undefined): number | undefined =>
  internal?.turn === turn?.id ? turn?.at.getTime() : (internal?.sentAt ?? created_timestamp);

/** @returns The candidates that any of the parts may be, where that stays undecided. */
function giveByOrder(
  left: Part<RetellMessage>[],
  candidates: StoredMessage[],
  owners: Owners,
  turn: Turn | undefined,
  decideByOrder: boolean,
): Set<StoredMessage> {
  const [isPlausible, mayBe] = [plausibleFor(turn), replacedFor(turn)];
  // Retell refused it: only its own text shows that it was taken all the same. Whatever else was said meanwhile may be it.
  const isRefused = ({ internal }: StoredMessage) => turn?.refusedByRetell === true && internal?.turn === turn.id;
  const able = candidates.filter((one) => !isRefused(one) || left.some((part) => mayBe(part, one)));
  const came = (part: Part<RetellMessage>, one: StoredMessage) =>
    isPlausible(part, one) && waitOf(part, one, turn) !== undefined;
  const spoken = left.filter((part) => able.some((candidate) => came(part, candidate)));
  const areAll = spoken.length === able.length && able.every((one, i) => !isRefused(one) && mayBe(spoken[i], one));
  if (!areAll || !decideByOrder) {
    return new Set(able.filter((one) => isRefused(one) || left.some((part) => isPlausible(part, one))));
  }
  for (const [i, part] of spoken.entries()) {
    const owner = able[i];
    if (owner) owners.set(part, owner);
  }
  return new Set();
}

/** Whether an entry may be a send, by the times of both. An open turn may wait for its entry for as long as it is open. */
const plausibleFor =
  (turn: Turn | undefined): Plausible =>
  (part, candidate) => {
    const at = part?.user?.created_timestamp;
    const isOpen = turn !== undefined && candidate.internal?.turn === turn.id;
    const sentAt = sentAtOf(candidate, turn);
    if (at === undefined || sentAt === undefined) return part !== undefined;
    return at - sentAt > earliestMs && (isOpen || at - sentAt < latestMs);
  };

/**
 * Whether an entry of another text may be a send whose text was replaced. That of the open turn was created when Retell got
 * it, right after BEGIN, and of a refused one before its refusal: what is said a while later is somebody else's. All times
 * are of servers, not of instances.
 */
const replacedFor =
  (turn: Turn | undefined): Plausible =>
  (part, candidate) => {
    const isOpen = turn !== undefined && candidate.internal?.turn === turn.id;
    if (!isOpen) return candidate.internal?.undecided !== true && plausibleFor(turn)(part, candidate);
    if (!part) return false;
    const at = part.user?.created_timestamp;
    const untilMs =
      turn.refusedByRetell && turn.markedAt ? turn.markedAt.getTime() + clocksMs : turn.at.getTime() + replacedMs;
    return at === undefined || (at > turn.at.getTime() - clocksMs && at < untilMs);
  };

/** Our history by delivered user messages. A failed one, and one whose turn is open, begins no part. */
function partsOfOurs(messages: StoredMessage[], turn: Turn | undefined): Part<StoredMessage>[] {
  const parts: Part<StoredMessage>[] = [{ user: undefined, rest: [] }];
  for (const message of messages) {
    if (!isUser(message)) parts[message.internal?.after ?? parts.length - 1]?.rest.push(message);
    else if (!message.internal?.failed && !(turn && message.internal?.turn === turn.id))
      parts.push({ user: message, rest: [] });
  }
  return parts;
}

function partsOfTheirs(entries: RetellMessage[]): Part<RetellMessage>[] {
  const parts: Part<RetellMessage>[] = [{ user: undefined, rest: [] }];
  for (const entry of entries) {
    if (isUser(entry)) parts.push({ user: entry, rest: [] });
    else parts.at(-1)?.rest.push(entry);
  }
  return parts;
}

/** Which part of ours is which of theirs. */
class Pairs {
  /** The number of our part by the number of theirs, and the reverse. */
  private readonly ofTheirs = new Map<number, number>();
  private readonly ofOurs = new Map<number, number>();
  private readonly ours: Part<StoredMessage>[];
  private readonly theirs: Part<RetellMessage>[];
  /** Retell keeps its ids: some were found again. */
  private idsTell = false;

  constructor(ours: Part<StoredMessage>[], theirs: Part<RetellMessage>[]) {
    this.ours = ours;
    this.theirs = theirs;
  }

  byMessageId(): void {
    this.byKey(({ user }) => (user?.message_id ? [user.message_id] : []));
  }

  /** By the ids of what followed, which most completions share with the history; else by what both sides said. */
  byReply(): void {
    this.byKey(idsOf);
    this.idsTell = this.ofOurs.size > 0;
    this.byKey(
      (part) => {
        const words = wordsOf(part);
        return words === undefined ? [] : [`${normalized(part.user?.content)}\n${words}`];
      },
      (i, j) => !this.isAnother(i, j),
    );
  }

  /**
   * By what the user said, unless the agent has said something else to it. What stands before the first pair here is looked
   * for before it there: a history that has lost its beginning does not have it.
   */
  byText(): void {
    const first = this.first();
    const limit = this.ofOurs.get(first) ?? Number.POSITIVE_INFINITY;
    this.byKey(
      ({ user }) => [normalized(user?.content)],
      (i, j) =>
        (i > first || j < limit) &&
        !this.isAnother(i, j) &&
        !contradict(wordsOf(this.ours[i] as Part<RetellMessage>), wordsOf(this.at(j))),
    );
  }

  /**
   * Guardrails and scrubbing rewrite texts. What stands between the same neighbours is paired in its order. Only scrubbing,
   * after the end, rewrites both sides: before, two parts in which both differ are two.
   */
  byPlace(owned: ReadonlyMap<Part<RetellMessage>, StoredMessage>, isScrubbed: boolean): void {
    const nextPair: number[] = [];
    for (let i = this.ours.length - 1, next = this.theirs.length; i > 0; i--) {
      next = this.ofOurs.get(i) ?? next;
      nextPair[i] = next;
    }
    const isOne = this.byWhatPairsShow(isScrubbed);
    const isFree = (j: number) => !this.ofTheirs.has(j) && !owned.has(this.at(j));
    const first = this.first();
    // What stands before the first pair is there up to it: the beginning may be lost.
    if (first < this.ours.length) {
      for (let i = first - 1, free = this.ofOurs.get(first) ?? 0; i > 0; i--) {
        do free -= 1;
        while (free > 0 && !(isFree(free) && isOne(i, free)));
        if (free > 0) this.pair(i, free);
      }
    }
    let last = 0;
    for (let i = first < this.ours.length ? first : 1; i < this.ours.length; i++) {
      const pair = this.ofOurs.get(i);
      last = Math.max(last, pair ?? 0);
      if (pair !== undefined) continue;
      const next = nextPair[i] ?? 0;
      // A neighbour that we learned of late stands out of order, and is no limit.
      const limit = next > last ? next : this.theirs.length;
      let free = last + 1;
      while (free < limit && !(isFree(free) && isOne(i, free))) free += 1;
      if (free >= limit) continue;
      this.pair(i, free);
      last = free;
    }
  }

  /**
   * Whether a part of ours and one of theirs may be one, though their texts differ. Where the ids of replies are known to be
   * those of the history, a part whose reply has other ids is another.
   */
  private byWhatPairsShow(isScrubbed: boolean): (i: number, j: number) => boolean {
    const ids = (i: number, j: number) => [idsOf(this.ours[i] as Part<StoredMessage>), idsOf(this.at(j))] as const;
    const compared = [...this.ofOurs]
      .map(([i, j]) => ids(i, j))
      .filter((both) => both.every(({ length }) => length > 0));
    const areShared = compared.length > 0 && !compared.some(areOther);
    return (i, j) => {
      const [part, other] = [this.ours[i] as Part<RetellMessage>, this.at(j)];
      if (this.isAnother(i, j) || (areShared && areOther(ids(i, j)))) return false;
      return isScrubbed || !contradict(wordsOf(part), wordsOf(other));
    };
  }

  /** The first part that has a pair and stands in its order: what others said we may have learned of late. */
  private first(): number {
    const isInOrder = ({ user }: Part<StoredMessage>) => user?.internal?.turn && !user.internal.supersedes;
    return Math.min(...[...this.ofOurs.keys()].filter((i) => isInOrder(this.ours[i] as Part<StoredMessage>)));
  }

  /** Whether Retell gave the user's message of our part, and that of theirs, different ids. */
  private isAnother(i: number, j: number): boolean {
    const [ours, theirs] = [(this.ours[i] as Part<StoredMessage>).user, this.at(j).user];
    const isGiven = ours?.message_id !== undefined && !ours.internal?.hasLocalId && theirs?.message_id !== undefined;
    return this.idsTell && isGiven && ours.message_id !== theirs.message_id;
  }

  /** The parts of theirs that are in no pair. */
  left(): Part<RetellMessage>[] {
    return this.theirs.filter((_, j) => j > 0 && !this.ofTheirs.has(j));
  }

  differences(messages: StoredMessage[]): Pick<Alignment, "lacking" | "corrections"> {
    const byId = new Map(messages.map((message) => [message.message_id, message]));
    const corrections: Alignment["corrections"] = [];
    // A history that has lost its beginning begins in the middle of ours: what stands first is no opening.
    const isWhole = this.ours.length === 1 || this.ofOurs.has(1);
    const lacking = this.ours.map((part, i): RetellMessage[] => {
      const j = i === 0 && isWhole ? 0 : this.ofOurs.get(i);
      if (j === undefined) return [];
      const { user, rest } = this.at(j);
      const { found, missing } = compare(part.rest, rest, byId);
      // Of a send of ours we know the whole text.
      const isTheirs = part.user?.message_id !== undefined && part.user.message_id === user?.message_id;
      if (part.user && user && isTheirs && !part.user.internal?.turn) found.push([part.user, user]);
      for (const [message, { content }] of found) {
        // One that we have shortened ourselves stays as it is.
        if (message.internal?.shortened || !isBeginningOf(message.content, content)) continue;
        corrections.push({ message, content });
      }
      return missing;
    });
    return { lacking, corrections };
  }

  private byKey(
    keysOf: (part: Part<StoredMessage>) => string[],
    fits: (ours: number, theirs: number) => boolean = () => true,
  ): void {
    const waiting = new Map<string, number[]>();
    for (let i = this.ours.length - 1; i > 0; i--) {
      if (this.ofOurs.has(i)) continue;
      for (const key of keysOf(this.ours[i] as Part<StoredMessage>)) {
        const same = waiting.get(key);
        if (same) same.push(i);
        else waiting.set(key, [i]);
      }
    }
    for (let j = 1; j < this.theirs.length; j++) {
      if (this.ofTheirs.has(j)) continue;
      for (const key of keysOf(this.at(j))) {
        const same = waiting.get(key);
        while (same?.length && this.ofOurs.has(same.at(-1) ?? 0)) same.pop();
        const i = same?.at(-1);
        if (i === undefined || !fits(i, j)) continue;
        this.pair(i, j);
        break;
      }
    }
  }

  private at(j: number): Part<RetellMessage> {
    return this.theirs[j] as Part<RetellMessage>;
  }

  private pair(i: number, j: number): void {
    this.ofOurs.set(i, j);
    this.ofTheirs.set(j, i);
  }
}

/** The ids that Retell gave to what followed the user's message. */
const idsOf = ({ rest }: Part<StoredMessage>) =>
  rest.flatMap(({ message_id, internal }) => (message_id === undefined || internal?.hasLocalId ? [] : [message_id]));

/** Whether two parts have ids, and none in common. */
const areOther = ([ours, theirs]: readonly [string[], string[]]) =>
  ours.length > 0 && theirs.length > 0 && !ours.some((id) => theirs.includes(id));

/** The first thing that the agent said in a part. */
function wordsOf({ rest }: Part<RetellMessage>): string | undefined {
  const words = rest.find(({ role }) => role === "agent");
  return words && comparable(words.content);
}

/** Retell may show the beginning of an answer first. */
function contradict(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && !one.startsWith(other) && !other.startsWith(one);
}

/**
 * Finds what follows a user message here and there: by message_id, else by tool_call_id, which counts within its turn
 * alone, else by its place among those of its role. Ids in a completion need not be those in the history.
 */
function compare(ours: StoredMessage[], theirs: RetellMessage[], byId: Map<string | undefined, StoredMessage>) {
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

/** A text that was cut may end in half of a surrogate pair, which stands as U+FFFD. */
const comparable = (text: unknown) => normalized(text).replace(/\uFFFD+$/, "");

/** Whether a text is only the beginning of another: so is an empty one, or none. */
export function isBeginningOf(half: string | undefined = "", whole: string | undefined): whole is string {
  if (whole === undefined || half === whole) return false;
  if (whole.startsWith(half)) return true;
  const [begun, told] = [comparable(half), comparable(whole)];
  return told.length > begun.length && told.startsWith(begun);
}

function groupBy<T>(items: T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return groups;
}
