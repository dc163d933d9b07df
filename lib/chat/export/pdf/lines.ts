import LineBreaker from "linebreak";
import { type Face, orderFor } from "./faces.ts";
import { type Clusters, type Piece, piecesOf } from "./pieces.ts";

/** Characters of a line that are drawn at once. */
export interface Run {
  face: Face;
  text: string;
  /** Odd: from right to left. */
  level: number;
  width: number;
  /** From the left edge of the line. */
  x: number;
}

export interface Line {
  /** In the order of the text, so that whoever extracts it gets the text. */
  runs: Run[];
  width: number;
  /** Whether its paragraph begins at the right. */
  isRightToLeft: boolean;
}

/** The width of a text of one face and direction. */
export type Measure = (run: Pick<Run, "face" | "text" | "level">) => number;

/** Breaks a paragraph, in which there is no `\n`, into lines: at least one. */
export async function linesOf(
  paragraph: string,
  clusters: Clusters,
  maxWidth: number,
  measure: Measure,
): Promise<Line[]> {
  const text = paragraph.replaceAll("\t", "    ");
  const { pieces, base } = await piecesOf(text, orderFor(text), clusters);
  const words = wordsOf(pieces, breaksOf(text));
  return filled(words, maxWidth, measure).map((line) => placed(withoutEnd(line), base, measure));
}

const unspaced = /[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]+/gu;
const segmenter = new Intl.Segmenter("th", { granularity: "word" });

/** Where a line may end: by UAX 14, and between words of scripts that write no spaces between them. */
function breaksOf(text: string): Set<number> {
  const breaks = new Set<number>();
  const breaker = new LineBreaker(text);
  for (let next = breaker.nextBreak(); next; next = breaker.nextBreak()) breaks.add(next.position);
  for (const { 0: part, index } of text.matchAll(unspaced)) {
    for (const word of segmenter.segment(part)) if (word.index > 0) breaks.add(index + word.index);
  }
  return breaks;
}

/** What stays together in a line. */
function wordsOf(pieces: Piece[], breaks: Set<number>): Piece[][] {
  const words: Piece[][] = [];
  for (const piece of pieces) {
    const word = breaks.has(piece.start) ? undefined : words.at(-1);
    if (word) word.push(piece);
    else words.push([piece]);
  }
  return words;
}

/** Fills lines. A word that is wider than a line is broken anywhere. Spaces at the end of a line need no room. */
function filled(words: Piece[][], maxWidth: number, measure: Measure): Piece[][] {
  const lines: Piece[][] = [[]];
  let room = maxWidth;
  const add = (pieces: Piece[], visibleWidth: number, width: number) => {
    if (visibleWidth > room && room < maxWidth) {
      lines.push([]);
      room = maxWidth;
    }
    lines.at(-1)?.push(...pieces);
    room -= width;
  };
  for (const word of words) {
    const width = widthOf(word, measure);
    const visibleWidth = isSpace(word.at(-1)) ? widthOf(withoutEnd(word), measure) : width;
    if (visibleWidth <= maxWidth) add(word, visibleWidth, width);
    else {
      for (const piece of word) {
        const own = widthOf([piece], measure);
        add([piece], own, own);
      }
    }
  }
  return lines;
}

const widthOf = (pieces: Piece[], measure: Measure) => runsOf(pieces).reduce((sum, run) => sum + measure(run), 0);

const isSpace = (piece: Piece | undefined) => piece !== undefined && piece.shown.trim() === "";

function withoutEnd(pieces: Piece[]): Piece[] {
  return pieces.slice(0, pieces.findLastIndex((piece) => !isSpace(piece)) + 1);
}

const letter = /[\p{L}\p{M}]/u;

/**
 * Joins neighbours in one face and direction. From right to left, only letters: who extracts a run turns it around if
 * it has letters, and not if it has brackets alone.
 */
function runsOf(pieces: Piece[]): Run[] {
  const runs: Run[] = [];
  for (const { face, level, shown } of pieces) {
    const last = runs.at(-1);
    const isJoined = level % 2 === 0 || (letter.test(shown) && letter.test(last?.text ?? ""));
    if (last?.face === face && last.level === level && isJoined) last.text += shown;
    else runs.push({ face, level, text: shown, width: 0, x: 0 });
  }
  return runs;
}

/** Places the runs of a line by rule L2 of UAX 9: from the highest level down, whatever has that level is reversed. */
function placed(pieces: Piece[], base: number, measure: Measure): Line {
  const runs = runsOf(pieces);
  const visual = [...runs];
  for (let level = Math.max(0, ...runs.map((run) => run.level)); level > 0; level--) {
    for (let from = 0; from < visual.length; from++) {
      let to = from;
      while ((visual[to]?.level ?? -1) >= level) to++;
      visual.splice(from, to - from, ...visual.slice(from, to).reverse());
      from = to;
    }
  }
  let x = 0;
  for (const run of visual) {
    run.width = measure(run);
    run.x = x;
    x += run.width;
  }
  return { runs, width: x, isRightToLeft: base % 2 === 1 };
}
