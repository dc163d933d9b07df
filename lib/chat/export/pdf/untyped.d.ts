/** Packages without types: as much of them as is used. */

declare module "bidi-js" {
  interface Bidi {
    /** By UAX 9: a level for each UTF-16 unit, and for each paragraph. */
    getEmbeddingLevels(text: string): { levels: Uint8Array; paragraphs: { level: number }[] };
  }
  export default function bidiFactory(): Bidi;
}

declare module "linebreak" {
  export default class LineBreaker {
    constructor(text: string);
    nextBreak(): { position: number; required: boolean } | null;
  }
}

declare module "subset-font" {
  interface Options {
    targetFormat: "sfnt";
    variationAxes?: Record<string, number>;
    keepAllGlyphs: true;
  }
  export default function subsetFont(font: Buffer, text: undefined, options: Options): Promise<Buffer>;
}
