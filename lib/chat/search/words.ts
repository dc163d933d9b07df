/**
 * Words as the search index stores them. Index and query use the same functions, so a change here needs
 * `npm run ops -- search-rebuild` for every subaccount.
 */

/** Of a message, so many UTF-16 units from its beginning are searched: a reply may hold megabytes. */
export const maxSearchedUnits = 20_000;

/** A longer word (a URL's token, base64) is stored by its beginning. */
const maxWordUnits = 64;

/**
 * What makes no difference to a reader of a search: accents, marks of Arabic and Hebrew that are mostly left out,
 * and invisible characters. Not all marks: in Thai, Hindi and Japanese they are part of the letter.
 */
const ignored =
  /[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\p{Default_Ignorable_Code_Point}]/gu;

/** A character of which words are made. */
export const wordCharacter = String.raw`[\p{L}\p{N}\p{M}]`;

const run = new RegExp(`${wordCharacter}+`, "gu");

let segmenter: Intl.Segmenter | undefined;

/**
 * A text without the differences that a search ignores: case, accents, width and other compatible forms. It is as if
 * each part were folded by itself, as long as the text is cut at white space or punctuation.
 */
export function fold(text: string): string {
  const bare = text
    .toWellFormed()
    .normalize("NFKD")
    .replace(ignored, "")
    // The dictionary knows the Thai and Lao letter AM as one, and NFKD has cut it.
    .replace(/\u0e4d([\u0e48-\u0e4b]?)\u0e32/g, "$1\u0e33")
    .replace(/\u0ecd([\u0ec8-\u0ecb]?)\u0eb2/g, "$1\u0eb3");
  // By capitals, so that ß is ss. A sigma has another form at the end of a word.
  return bare.toUpperCase().toLowerCase().replaceAll("ς", "σ").normalize("NFC");
}

/** The words of a text, folded, each once. Scripts without spaces are cut by the dictionary of ICU. */
export function wordsOf(text: string): Set<string> {
  segmenter ??= new Intl.Segmenter("en", { granularity: "word" });
  const words = new Set<string>();
  for (const { segment, isWordLike } of segmenter.segment(fold(text.slice(0, maxSearchedUnits)))) {
    if (!isWordLike) continue;
    // A segment may hold several: l'abonnement, example.com.
    for (const [word] of segment.matchAll(run)) words.add(word.slice(0, maxWordUnits).toWellFormed());
  }
  return words;
}

/** A number that is the same for the same text, of 32 bits (FNV-1a). Not for secrets. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
