import type PDFDocument from "pdfkit";
import type { Shaped } from "./shape.ts";

/** What pdfkit has of a font in a document, and its types do not name. */
interface EmbeddedFont {
  layout(text: string): Shaped;
  encode(text: string): [glyphs: string[], positions: Shaped["positions"]];
  /** The ids of the glyphs that are embedded, by their number in the document. */
  subset: { glyphs: number[] };
  /** In 1/1000 of the size, by number. */
  widths: number[];
  /** The characters of each glyph, by number. */
  unicode: number[][];
  scale: number;
}

/**
 * Lets the document's current font take its glyphs from another shaper than pdfkit's.
 *
 * A glyph is embedded once for each text that it stands for: the same one is `(` and, mirrored, `)`, and the body of
 * several Arabic letters, which differ by their dots. So whoever extracts the text gets what was written.
 */
export function encodeWith(doc: typeof PDFDocument.prototype, shape: (text: string) => Shaped): void {
  const { _font: font } = doc as unknown as { _font: EmbeddedFont };
  const numbers = new Map<string, number>();
  font.layout = shape;
  font.encode = (text) => {
    const { glyphs, positions } = shape(text);
    const encoded = glyphs.map(({ id, codePoints, advanceWidth }) => {
      const key = `${id} ${codePoints.join()}`;
      const number = numbers.get(key) ?? font.subset.glyphs.push(id) - 1;
      numbers.set(key, number);
      font.widths[number] = advanceWidth * font.scale;
      font.unicode[number] = codePoints;
      return number.toString(16).padStart(4, "0");
    });
    return [encoded, positions];
  };
}
