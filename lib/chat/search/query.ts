import { fold, wordCharacter, wordsOf } from "./words.ts";

/** A word, a word's beginning or a phrase that must be found in a message as it stands. */
export interface Term {
  /** Folded, with single spaces, beginning and ending with a letter or digit. */
  text: string;
  /** Words that the index must have, in order. */
  words: string[];
  /** The last word is only its beginning. */
  isPrefix: boolean;
}

export const maxQueryUnits = 200;
const maxWords = 5;
const minPrefixLetters = 3;

const quote = /["“”„‟«»＂]/g;
const term = /"([^"]*)"|[^\s"]+/g;
const isWordy = new RegExp(wordCharacter, "u");
const prefixed = new RegExp(`${wordCharacter}\\*$`, "u");
const edges = new RegExp(`^(?:(?!${wordCharacter}).)+|(?:(?!${wordCharacter}).)+$`, "gsu");

/**
 * Reads what a user searches for: words, `begin*`, and phrases in quotes. Other characters mean nothing but themselves;
 * those around a word are left out, as are words of emoji or punctuation alone.
 *
 * @returns The terms, all of which must be found; or what is wrong, for a person.
 */
export function parseQuery(text: string): Term[] | string {
  const terms = new Map<string, Term>();
  let count = 0;
  for (const [given, phrase] of text.replace(quote, '"').matchAll(term)) {
    const raw = phrase ?? given;
    const parts = raw.split(/\s+/).filter((part) => isWordy.test(part));
    if (parts.length === 0) continue;
    count += parts.length;
    const isPrefix = phrase === undefined && prefixed.test(raw);
    const folded = fold(raw).replace(/\s+/g, " ").replace(edges, "");
    if (folded === "") continue;
    if (isPrefix && [...folded].length < minPrefixLetters) {
      return `Must have ${minPrefixLetters} letters or more before *`;
    }
    const words = indexedWords(folded, isPrefix);
    if (words.length === 0) continue; // such as ❶: a number by Unicode, and no word
    terms.set(`${folded}${isPrefix ? "*" : ""}`, { text: folded, words, isPrefix });
  }
  if (terms.size === 0) return "Must have a letter or digit";
  if (count > maxWords) return `Must have ${maxWords} words at most, those of phrases included`;
  return [...terms.values()];
}

/**
 * The words of a term as the index has them. A last word in Katakana is left out, as in a text it may be the beginning of
 * a longer one: メール in メールフォルダ.
 */
function indexedWords(text: string, isPrefix: boolean): string[] {
  const words = [...wordsOf(text)];
  const isOpen = !isPrefix && words.length > 1 && /^[\p{Script=Katakana}ー]+$/u.test(words.at(-1) ?? "");
  return isOpen ? words.slice(0, -1) : words;
}
