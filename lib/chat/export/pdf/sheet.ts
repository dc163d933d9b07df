import type PDFDocument from "pdfkit";
import { encodeWith } from "./embedded.ts";
import { type Line, linesOf, type Run } from "./lines.ts";
import type { Clusters } from "./pieces.ts";
import type { Shaped } from "./shape.ts";

export interface Style {
  /** All in points. */
  size: number;
  lineHeight: number;
  color: string;
}

const margin = 56;
const top = 64;
const bottom = 60;

/** Where the lower edge of letters is, from the top of the line. */
const baseline = 0.75;

/** Sets paragraphs on pages, from the top to the bottom. */
export class Sheet {
  readonly #doc: typeof PDFDocument.prototype;
  readonly #clusters: Clusters = new Map();
  readonly #shaped = new Map<string, Shaped>();
  readonly #registered = new Set<string>();
  readonly #width: number;
  /** pdfkit asks for the glyphs of a text, and does not say in which direction it is. */
  #level = 0;
  #y = top;

  constructor(doc: typeof PDFDocument.prototype) {
    this.#doc = doc;
    this.#width = doc.page.width - 2 * margin;
  }

  /** Leaves a space of so many points. */
  skip(points: number): void {
    this.#y += points;
  }

  /** Adds paragraphs. The first line of the first one is not the last line of a page, unless it is alone. */
  async add(paragraphs: (readonly [Style, string])[]): Promise<void> {
    let keep = paragraphs.length > 1 ? 1 : 0;
    for (const [style, text] of paragraphs) {
      for (const line of await this.#broken(text, style)) {
        if (this.#y + style.lineHeight * (1 + keep) > this.#doc.page.height - bottom) {
          this.#doc.addPage();
          this.#y = top;
        }
        keep = 0;
        this.#draw(line, style, this.#y);
        this.#y += style.lineHeight;
      }
    }
  }

  /** Writes a title at the top of each page but the first, and the page's number at the bottom. Nothing can follow. */
  async finish(style: Style, title: string): Promise<void> {
    const { count } = this.#doc.bufferedPageRange();
    for (let page = 0; page < count; page++) {
      this.#doc.switchToPage(page);
      const [number] = await this.#broken(`Page ${page + 1} of ${count}`, style);
      const [head] = await this.#broken(title, style);
      if (head && page > 0) this.#draw(head, style, top - 32);
      if (number) this.#draw(number, style, this.#doc.page.height - bottom + 20);
    }
  }

  #broken(text: string, { size }: Style): Promise<Line[]> {
    return linesOf(text, this.#clusters, this.#width, (run) => (this.#shape(run).advanceWidth * size) / 1_000);
  }

  #draw({ runs, width, isRightToLeft }: Line, { size, lineHeight, color }: Style, y: number): void {
    const left = isRightToLeft ? margin + this.#width - width : margin;
    const position = y + lineHeight * baseline;
    for (const run of runs) {
      this.#use(run);
      this.#level = run.level;
      const doc = this.#doc.fontSize(size).fillColor(color);
      doc.text(run.text, left + run.x, position, { lineBreak: false, baseline: "alphabetic" });
    }
  }

  /** A word is laid out once, however often it comes. */
  #shape({ face, text, level }: Pick<Run, "face" | "text" | "level">): Shaped {
    const key = `${level % 2} ${face.id} ${text}`;
    const shaped = this.#shaped.get(key) ?? face.shape(text, level % 2 === 1);
    this.#shaped.set(key, shaped);
    return shaped;
  }

  #use({ face }: Run): void {
    if (this.#registered.has(face.id)) {
      this.#doc.font(face.id);
      return;
    }
    this.#registered.add(face.id);
    this.#doc.registerFont(face.id, face.data).font(face.id);
    encodeWith(this.#doc, (text) => this.#shape({ face, text, level: this.#level }));
  }
}
