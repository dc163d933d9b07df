import bidiFactory from "bidi-js";
import { type Face, find, isIgnorable } from "./faces.ts";

/** A cluster of a text, or a part of one, in one face. */
export interface Piece extends Part {
  /** In the text, in UTF-16 units. */
  start: number;
  /** Odd: from right to left. */
  level: number;
}

interface Part {
  face: Face;
  /** What is drawn: without what is invisible, and with a replacement for what no face has. */
  shown: string;
  /** In the cluster, in UTF-16 units. */
  at: number;
}

const bidi = bidiFactory();
const graphemes = new Intl.Segmenter("und", { granularity: "grapheme" });
const replacement = "\ufffd";

/** The parts of the clusters of a document. */
export type Clusters = Map<string, Part[]>;

/**
 * The pieces of a paragraph in the order of its text. What no face has becomes U+FFFD: never another letter, and never
 * nothing.
 *
 * @param order Packages of faces, as `orderFor` gives them.
 * @param base  The level of the paragraph: 1 if it begins at the right.
 */
export async function piecesOf(
  text: string,
  order: string[],
  clusters: Clusters,
): Promise<{ pieces: Piece[]; base: number }> {
  const { levels, paragraphs } = bidi.getEmbeddingLevels(text);
  const pieces: Piece[] = [];
  for (const { segment, index } of graphemes.segment(text)) {
    const key = `${order[0]} ${segment}`;
    const parts = clusters.get(key) ?? (await partsOf(segment, order));
    clusters.set(key, parts);
    const level = levels[index] ?? 0;
    for (const part of parts) pieces.push({ ...part, start: index + part.at, level });
  }
  return { pieces, base: paragraphs[0]?.level ?? 0 };
}

/** A cluster that no face has as a whole is shown character by character: a family of emoji as its members. */
async function partsOf(cluster: string, order: string[]): Promise<Part[]> {
  const whole = await partOf(cluster, 0, order);
  if (whole) return [whole];
  const parts: Part[] = [];
  let at = 0;
  for (const character of cluster) {
    const part = await partOf(character, at, order);
    if (part) parts.push(part);
    else if (!isIgnorable(character)) parts.push(await replaced(at, order));
    at += character.length;
  }
  return parts;
}

async function partOf(text: string, at: number, order: string[]): Promise<Part | undefined> {
  const face = await find(text, order);
  if (!face) return undefined;
  // Joiners stay where the face knows them: they choose the form of the letters beside them.
  const isShown = (one: string) => !isIgnorable(one) || (/[\u200c\u200d]/.test(one) && face.covers(one));
  return { face, at, shown: Array.from(text).filter(isShown).join("") };
}

async function replaced(at: number, order: string[]): Promise<Part> {
  const part = await partOf(replacement, at, order);
  if (!part) throw new Error("No face has U+FFFD");
  return part;
}
