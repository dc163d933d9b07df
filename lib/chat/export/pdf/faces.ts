import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import subsetFont from "subset-font";
import { packages } from "./packages.ts";
import { type Shape, shaperOf } from "./shape.ts";

/** A part of a typeface, as its package cuts it: a script or two, or some 100 ideographs. */
export interface Face {
  id: string;
  /** A TrueType font at one weight: pdfkit embeds no variable ones. */
  data: Buffer;
  covers(character: string): boolean;
  shape: Shape;
}

const [latin = ""] = packages;
const orderWith = (name: string) => [...new Set([latin, name, ...packages])];
const orders = { any: packages, japanese: orderWith("noto-sans-jp"), korean: orderWith("noto-sans-kr") };
const kana = /[\p{Script=Hiragana}\p{Script=Katakana}]/u;
const hangul = /\p{Script=Hangul}/u;

/** The order in which packages are searched for the letters of a text. */
export function orderFor(text: string): string[] {
  if (kana.test(text)) return orders.japanese;
  return hangul.test(text) ? orders.korean : orders.any;
}

/** Whether a character is invisible where a face has no glyph for it. */
export const isIgnorable = (character: string) => /[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}]/u.test(character);

/** The first face that has every visible character of a text; undefined if none has, or there is none. */
export async function find(text: string, order: string[]): Promise<Face | undefined> {
  const characters = Array.from(text).filter((character) => !isIgnorable(character));
  const leading = characters[0]?.codePointAt(0);
  if (leading === undefined) return undefined;
  for (const name of order) {
    for (const { path, ranges } of await filesOf(name)) {
      if (!ranges.some(([from, to]) => leading >= from && leading <= to)) continue;
      const face = await load(path);
      if (characters.every(face.covers)) return face;
    }
  }
  return undefined;
}

const require = createRequire(import.meta.url);
const pathOf = (file: string) => require.resolve(`@fontsource-variable/${file}`);

/** A file of a package, and what the package says that it covers. Loading it tells what it does cover. */
interface FaceFile {
  path: string;
  ranges: [first: number, last: number][];
}

const filesOf = once(async (name: string): Promise<FaceFile[]> => {
  const ranges: Record<string, string> = JSON.parse(await readFile(pathOf(`${name}/unicode.json`), "utf8"));
  return Object.entries(ranges).map(([part, text]) => ({
    path: pathOf(`${name}/files/${name}-${part.replace(/[[\]]/g, "")}-wght-normal.woff2`),
    ranges: text.split(",").map(rangeOf),
  }));
});

/** `U+4e00-4e7f` or `U+4e00`. */
function rangeOf(text: string): [number, number] {
  const [from = "", to = from] = text.trim().slice(2).split("-");
  return [Number.parseInt(from, 16), Number.parseInt(to, 16)];
}

/** All faces together have 17 MB, and are read within 3 s. Most texts need three or four. */
const load = once(async (path: string): Promise<Face> => {
  const options = { targetFormat: "sfnt", variationAxes: { wght: 400 }, keepAllGlyphs: true } as const;
  const data = await subsetFont(await readFile(path), undefined, options);
  return { id: path, data, ...(await shaperOf(data)) };
});

/** Remembers what was read. A failure is not remembered. */
function once<T>(read: (name: string) => Promise<T>): (name: string) => Promise<T> {
  const known = new Map<string, Promise<T>>();
  return (name) => {
    const reading = known.get(name) ?? read(name);
    known.set(name, reading);
    reading.catch(() => known.delete(name));
    return reading;
  };
}
