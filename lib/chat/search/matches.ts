import type * as z from "zod";
import type { Term } from "./query.ts";
import type { SearchMatch } from "./schema.ts";
import { fold, maxSearchedUnits, wordCharacter } from "./words.ts";

/** A message that may hold what is searched for. */
export interface SearchedMessage {
  seq: number;
  role: string;
  content: string;
}

export type Match = z.input<typeof SearchMatch>;
type Range = [from: number, to: number];

const maxMatches = 3;
const maxHighlights = 20;
/** UTF-16 units of a match's text, and how many of them stand before the first highlight. */
const shownUnits = 200;
const unitsBefore = 60;

/** Scripts that are written without spaces: a word may begin and end anywhere. */
const spaceless =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}ー]/u;
const wordy = new RegExp(wordCharacter, "u");
const pieces = new RegExp(`${wordCharacter}+|\\s+|(?:(?!${wordCharacter})\\S)+`, "gu");

/**
 * The messages that hold what is searched for: the index tells words of 50 messages together, this looks at the texts.
 *
 * @returns Up to three messages in order, those with most terms; undefined when some term is in none of them.
 */
export function matchesIn(messages: SearchedMessage[], terms: Term[]): Match[] | undefined {
  const missing = new Set(terms);
  const found: { message: SearchedMessage; count: number }[] = [];
  for (const message of messages) {
    const text = fold(message.content.slice(0, maxSearchedUnits)).replace(/\s+/g, " ");
    const there = terms.filter((term) => !occurrences(text, term).next().done);
    for (const term of there) missing.delete(term);
    if (there.length > 0) found.push({ message, count: there.length });
  }
  if (missing.size > 0) return undefined;
  const best = found.toSorted((one, other) => other.count - one.count).slice(0, maxMatches);
  return best.map(({ message }) => matchOf(message, terms)).toSorted((one, other) => one.seq - other.seq);
}

/** Where a term stands in a folded text, by itself and not within a longer word. */
function* occurrences(text: string, { text: term, isPrefix }: Term): Generator<Range> {
  for (let at = text.indexOf(term); at >= 0; at = text.indexOf(term, at + 1)) {
    let end = at + term.length;
    if (!isBorder(text, at)) continue;
    if (isPrefix) while (end < text.length && !isBorder(text, end)) end += 1;
    else if (!isBorder(text, end)) continue;
    yield [at, end];
  }
}

/** Whether a word may begin or end between two characters. */
function isBorder(text: string, at: number): boolean {
  const [before, after] = [characterBefore(text, at), String.fromCodePoint(text.codePointAt(at) ?? 0x20)];
  if (!wordy.test(before) || !wordy.test(after)) return true;
  return !/\p{M}/u.test(after) && (spaceless.test(before) || spaceless.test(after));
}

function characterBefore(text: string, at: number): string {
  const unit = text.charCodeAt(at - 1);
  return at === 0 ? " " : unit >= 0xdc00 && unit <= 0xdfff ? text.slice(at - 2, at) : text.slice(at - 1, at);
}

/** The part of a message around its first highlight, and where the highlights are in it. */
function matchOf({ seq, role, content }: SearchedMessage, terms: Term[]): Match {
  const found = rangesIn(content.slice(0, maxSearchedUnits), terms);
  const first = found[0] ?? [0, 0];
  const from = cutBefore(content, first[0] - unitsBefore);
  const to = Math.max(cutAfter(content, from + shownUnits), Math.min(first[1], from + 2 * shownUnits));
  const [head, tail] = [from > 0 ? "…" : "", to < content.length ? "…" : ""];
  const highlights = found
    .filter((range) => range[0] >= from && range[1] <= to)
    .slice(0, maxHighlights)
    .map(([start, end]): Range => [start - from + head.length, end - from + head.length]);
  return { seq, role, text: `${head}${content.slice(from, to)}${tail}`, highlights };
}

/** Where the terms stand in a text as it was written, in order, without overlaps. */
function rangesIn(content: string, terms: Term[]): Range[] {
  const parts: { folded: string; from: number; at: number; raw: string }[] = [];
  let text = "";
  for (const { 0: raw, index } of content.matchAll(pieces)) {
    const folded = /^\s/.test(raw) ? " " : fold(raw);
    parts.push({ folded, from: text.length, at: index, raw });
    text += folded;
  }
  const ranges = terms.flatMap((term) => [...occurrences(text, term).take(maxHighlights)]);
  const merged: Range[] = [];
  for (const [from, to] of ranges.toSorted(([one], [other]) => one - other)) {
    const last = merged.at(-1);
    if (last && from < last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged.map(([from, to]) => [original(parts, from, "start"), original(parts, to, "end")]);
}

/** The place in the original of a place in the folded text. */
function original(
  parts: { folded: string; from: number; at: number; raw: string }[],
  place: number,
  side: "start" | "end",
): number {
  const part = parts.findLast(({ from }) => (side === "start" ? from <= place : from < place));
  if (!part) return 0;
  const within = place - part.from;
  if (side === "end" && within >= part.folded.length) return part.at + part.raw.length;
  if (side === "start" && within === 0) return part.at;
  let folded = "";
  for (const { segment, index } of new Intl.Segmenter("en", { granularity: "grapheme" }).segment(part.raw)) {
    if (side === "start" && folded.length >= within) return part.at + index;
    folded += fold(segment);
    if (side === "end" && folded.length >= within) return part.at + index + segment.length;
  }
  return part.at + part.raw.length;
}

/** A place near this one at which a text may begin: after white space, or between characters. */
function cutBefore(text: string, at: number): number {
  if (at <= 0) return 0;
  const space = text.slice(at, at + 25).search(/\s/);
  return space >= 0 ? at + space + 1 : betweenCharacters(text, at);
}

/** A place near this one at which a text may end. */
function cutAfter(text: string, at: number): number {
  if (at >= text.length) return text.length;
  const [last] = /\s\S{0,25}$/.exec(text.slice(0, at)) ?? [""];
  return betweenCharacters(text, at - last.length);
}

const betweenCharacters = (text: string, at: number) => (/^[\udc00-\udfff]/.test(text.slice(at, at + 1)) ? at - 1 : at);
