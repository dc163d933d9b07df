import type { Collection } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import { isOutOfTime } from "../../platform/mongo.ts";
import { localRead } from "../store/collection.ts";
import type { Term } from "./query.ts";
import type { Segment } from "./segment.ts";

/** One of these words must be in the segment. */
export type Requirement = string[];

/** A word is counted up to this, to find the rarest. */
const maxCounted = 2_000;
const maxCountedWords = 5;
/** Words that a prefix stands for, the first in the order of their characters. */
const maxExpansions = 50;
/** How long they are looked for. */
const expandMs = 600;

/**
 * What a segment must have for the terms to be in it.
 *
 * @returns `isCut`: a prefix stands for more words, or may do so.
 */
export async function requirementsOf(
  words: Collection<Segment>,
  tenant: TenantContext,
  terms: Term[],
  until: number,
): Promise<{ requirements: Requirement[]; isCut: boolean }> {
  const exact = new Set(terms.flatMap((term) => (term.isPrefix ? term.words.slice(0, -1) : term.words)));
  const requirements = Array.from(exact, (word) => [word]);
  let isCut = false;
  const stop = Math.min(until, Date.now() + expandMs);
  for (const { isPrefix, words: parts } of terms) {
    const prefix = parts.at(-1);
    if (!isPrefix || prefix === undefined) continue;
    const found = await expand(words, tenant, prefix, stop);
    requirements.push(found.slice(0, maxExpansions));
    isCut ||= found.length > maxExpansions || Date.now() >= stop;
  }
  return { requirements, isCut };
}

/** The words of the subaccount that begin so, one more than a prefix stands for. Each is a seek in the index. */
async function expand(
  words: Collection<Segment>,
  { subaccountId }: TenantContext,
  prefix: string,
  until: number,
): Promise<string[]> {
  const end = `${prefix}\u{10ffff}`;
  const found: string[] = [];
  let range: object = { $gte: prefix, $lt: end };
  try {
    while (found.length <= maxExpansions) {
      // $elemMatch, as both bounds must hold for one and the same word. The index gives the first word first.
      const filter = { subaccountId, words: { $elemMatch: range } };
      const options = { ...localRead, projection: { _id: 0, words: 1 }, maxTimeMS: msUntil(until) };
      const segment = await words.findOne(filter, options);
      const last = found.at(-1);
      const [first, ...more] = segment?.words.filter((word) => isBetween(word, prefix, last)) ?? [];
      const next = first === undefined ? undefined : more.reduce(smaller, first);
      if (next === undefined) return found;
      found.push(next);
      range = { $gt: next, $lt: end };
    }
  } catch (error) {
    if (!isOutOfTime(error)) throw error;
  }
  return found;
}

const isBetween = (word: string, prefix: string, last: string | undefined) =>
  word.startsWith(prefix) && (last === undefined || compare(word, last) > 0);

const smaller = (one: string, other: string) => (compare(one, other) < 0 ? one : other);

/** As MongoDB sorts text: by UTF-8, in which characters beyond the first 65,536 come last. */
const compare = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));

/**
 * The requirements, that with the fewest segments first. Of many, the longest words are counted, as they are the rarest.
 *
 * @returns Undefined when no segment meets one of them.
 */
export async function rarestFirst(
  words: Collection<Segment>,
  { subaccountId }: TenantContext,
  requirements: Requirement[],
  until: number,
): Promise<Requirement[] | undefined> {
  if (requirements.length === 0 || requirements.some(({ length }) => length === 0)) return undefined;
  if (requirements.length === 1) return requirements;
  const byLength = requirements.toSorted((one, other) => longest(other) - longest(one));
  const [first, ...more] = byLength
    .slice(0, maxCountedWords)
    .map((any, index) => [
      { $match: { subaccountId, words: { $in: any } } },
      { $limit: maxCounted },
      { $group: { _id: { $literal: index }, count: { $sum: 1 } } },
    ]);
  const pipeline = [
    ...(first ?? []),
    ...more.map((one) => ({ $unionWith: { coll: words.collectionName, pipeline: one } })),
  ];
  try {
    const options = { ...localRead, maxTimeMS: msUntil(until) };
    const counted = await words.aggregate<{ _id: number; count: number }>(pipeline, options).toArray();
    if (counted.length < Math.min(requirements.length, maxCountedWords)) return undefined;
    const counts = new Map(counted.map(({ _id, count }) => [byLength[_id], count]));
    const countOf = (any: Requirement) => counts.get(any) ?? Number.POSITIVE_INFINITY;
    return byLength.toSorted((one, other) => countOf(one) - countOf(other));
  } catch (error) {
    if (!isOutOfTime(error)) throw error;
    return byLength;
  }
}

const longest = (any: Requirement) => Math.max(...any.map(({ length }) => length));

/** MongoDB takes 0 for no limit. */
export const msUntil = (until: number) => Math.max(1, until - Date.now());
