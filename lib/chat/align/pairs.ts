import type { RetellMessage } from "../../retell/schema.ts";
import type { StoredMessage } from "../model.ts";
import { agentTextOf, areDisjoint, contradict, idsOf, type Part } from "./parts.ts";
import { normalized } from "./text.ts";

/**
 * Which part of our history is which part of Retell's. Parts are named by their number; each is in one pair at most.
 */
export class Pairs {
  private readonly theirsByOurs = new Map<number, number>();
  private readonly oursByTheirs = new Map<number, number>();
  private readonly ours: Part<StoredMessage>[];
  private readonly theirs: Part<RetellMessage>[];
  /** Retell keeps the ids of its messages, as some were found again: then another id means another message. */
  private areIdsKept = false;

  constructor(ours: Part<StoredMessage>[], theirs: Part<RetellMessage>[]) {
    this.ours = ours;
    this.theirs = theirs;
  }

  /** The number of Retell's part that is this one of ours. */
  theirsOf(i: number): number | undefined {
    return this.theirsByOurs.get(i);
  }

  /** Retell's parts that are in no pair, without its opening. */
  unpaired(): Part<RetellMessage>[] {
    return this.theirs.filter((_, j) => j > 0 && !this.oursByTheirs.has(j));
  }

  pairByMessageId(): void {
    this.pairByKey(({ user }) => (user?.message_id ? [user.message_id] : []));
  }

  /** By the ids of what followed, which most completions share with the history; else by what both sides said. */
  pairByReply(): void {
    this.pairByKey(idsOf);
    this.areIdsKept = this.theirsByOurs.size > 0;
    this.pairByKey(
      (part) => {
        const words = agentTextOf(part);
        return words === undefined ? [] : [`${normalized(part.user?.content)}\n${words}`];
      },
      (i, j) => !this.haveOtherIds(i, j),
    );
  }

  /**
   * By what the user said, unless the agent said something else to it. Our parts before the first pair are searched
   * only before it in Retell's history: one that has lost its beginning does not have them.
   */
  pairByText(): void {
    const first = this.firstPaired();
    const limit = this.theirsOf(first) ?? Number.POSITIVE_INFINITY;
    this.pairByKey(
      ({ user }) => [normalized(user?.content)],
      (i, j) =>
        (i > first || j < limit) &&
        !this.haveOtherIds(i, j) &&
        !contradict(partAt(this.ours, i), partAt(this.theirs, j)),
    );
  }

  /**
   * By place: guardrails and scrubbing rewrite texts, so parts between the same neighbours are paired in their order.
   *
   * @param owned      Parts of Retell's that are known to be sends without confirmation.
   * @param isScrubbed Retell may have rewritten both sides, which it does only after the end. Before the end, two
   *                   parts in which both sides differ are two.
   */
  pairByPlace(owned: ReadonlyMap<Part<RetellMessage>, StoredMessage>, isScrubbed: boolean): void {
    const mayBeSame = this.comparer(isScrubbed);
    const isFree = (j: number) => !this.oursByTheirs.has(j) && !owned.has(partAt(this.theirs, j));
    const fits = (i: number, j: number) => isFree(j) && mayBeSame(i, j);
    const first = this.firstPaired();
    if (first < this.ours.length) this.pairBackwards(first, fits);
    this.pairForwards(first < this.ours.length ? first : 1, fits);
  }

  /** Parts before the first pair, from there to the beginning, which may be lost. */
  private pairBackwards(first: number, fits: (ours: number, theirs: number) => boolean): void {
    for (let i = first - 1, j = this.theirsOf(first) ?? 0; i > 0; i--) {
      do j -= 1;
      while (j > 0 && !fits(i, j));
      if (j > 0) this.pair(i, j);
    }
  }

  private pairForwards(from: number, fits: (ours: number, theirs: number) => boolean): void {
    const nextPair: number[] = [];
    for (let i = this.ours.length - 1, next = this.theirs.length; i > 0; i--) {
      next = this.theirsOf(i) ?? next;
      nextPair[i] = next;
    }
    let last = 0;
    for (let i = from; i < this.ours.length; i++) {
      const pair = this.theirsOf(i);
      last = Math.max(last, pair ?? 0);
      if (pair !== undefined) continue;
      const next = nextPair[i] ?? 0;
      // A neighbour that we learned of late stands out of order, and is no limit.
      const limit = next > last ? next : this.theirs.length;
      let j = last + 1;
      while (j < limit && !fits(i, j)) j += 1;
      if (j >= limit) continue;
      this.pair(i, j);
      last = j;
    }
  }

  /**
   * Tells whether a part of ours and one of Retell's may be the same, though their texts differ. If the pairs so far
   * show that replies have the ids of the history, a part whose reply has other ids is another.
   */
  private comparer(isScrubbed: boolean): (ours: number, theirs: number) => boolean {
    const ids = (i: number, j: number) => [idsOf(partAt(this.ours, i)), idsOf(partAt(this.theirs, j))] as const;
    const compared = [...this.theirsByOurs]
      .map(([i, j]) => ids(i, j))
      .filter((both) => both.every(({ length }) => length > 0));
    const areShared = compared.length > 0 && !compared.some(areDisjoint);
    return (i, j) => {
      if (this.haveOtherIds(i, j) || (areShared && areDisjoint(ids(i, j)))) return false;
      return isScrubbed || !contradict(partAt(this.ours, i), partAt(this.theirs, j));
    };
  }

  /** Our first part that has a pair and stands in its order: what others said may have been learned of late. */
  private firstPaired(): number {
    const isInOrder = ({ user }: Part<StoredMessage>) => user?.internal?.turn && !user.internal.supersedes;
    return Math.min(...[...this.theirsByOurs.keys()].filter((i) => isInOrder(partAt(this.ours, i))));
  }

  /** Whether Retell gave the user's message of our part, and that of theirs, different ids. */
  private haveOtherIds(i: number, j: number): boolean {
    const [ours, theirs] = [partAt(this.ours, i).user, partAt(this.theirs, j).user];
    const isGiven = ours?.message_id !== undefined && !ours.internal?.hasLocalId && theirs?.message_id !== undefined;
    return this.areIdsKept && isGiven && ours.message_id !== theirs.message_id;
  }

  /** Pairs parts that share a key: the first of ours with the first of theirs, and so on. */
  private pairByKey(
    keysOf: (part: Part<StoredMessage>) => string[],
    fits: (ours: number, theirs: number) => boolean = () => true,
  ): void {
    const waiting = new Map<string, number[]>();
    for (let i = this.ours.length - 1; i > 0; i--) {
      if (this.theirsByOurs.has(i)) continue;
      for (const key of keysOf(partAt(this.ours, i))) {
        const same = waiting.get(key);
        if (same) same.push(i);
        else waiting.set(key, [i]);
      }
    }
    for (let j = 1; j < this.theirs.length; j++) {
      if (this.oursByTheirs.has(j)) continue;
      for (const key of keysOf(partAt(this.theirs, j))) {
        const same = waiting.get(key);
        while (same?.length && this.theirsByOurs.has(same.at(-1) ?? 0)) same.pop();
        const i = same?.findLast((one) => !this.theirsByOurs.has(one) && fits(one, j));
        if (i === undefined) continue;
        this.pair(i, j);
        break;
      }
    }
  }

  private pair(i: number, j: number): void {
    this.theirsByOurs.set(i, j);
    this.oursByTheirs.set(j, i);
  }
}

function partAt<T extends RetellMessage>(parts: Part<T>[], number: number): Part<T> {
  const part = parts[number];
  if (!part) throw new RangeError(`There is no part ${number}`);
  return part;
}
