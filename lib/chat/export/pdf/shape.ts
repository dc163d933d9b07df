/** The glyphs of a text from left to right, as a font of pdfkit lays it out. Positions are in 1/1000 of the size. */
export interface Shaped {
  glyphs: Glyph[];
  positions: { xAdvance: number; yAdvance: number; xOffset: number; yOffset: number; advanceWidth: number }[];
  advanceWidth: number;
}

interface Glyph {
  id: number;
  /** The characters that whoever extracts the text gets for it. */
  codePoints: number[];
  /** In units of the font. */
  advanceWidth: number;
}

/** Chooses and places the glyphs of a text of one direction. Brackets are mirrored where it is from right to left. */
export type Shape = (text: string, isRightToLeft: boolean) => Shaped;

/**
 * What a font can show, and how, by HarfBuzz. pdfkit's own shaper (fontkit) throws an error on some marks of Noto's
 * fonts, and does not know all scripts.
 */
export async function shaperOf(data: Buffer): Promise<{ shape: Shape; covers(character: string): boolean }> {
  const hb = await import("harfbuzzjs"); // it loads its WebAssembly, so it is no module that require() can load
  const face = new hb.Face(new hb.Blob(data));
  const font = new hb.Font(face);
  const codePoints = new Set(face.collectUnicodes());
  const scale = 1_000 / face.upem;
  return {
    covers: (character) => codePoints.has(Number(character.codePointAt(0))),
    shape: (text, isRightToLeft) => {
      const buffer = new hb.Buffer();
      buffer.setClusterLevel(hb.ClusterLevel.CHARACTERS);
      buffer.addText(text);
      buffer.guessSegmentProperties();
      buffer.setDirection(isRightToLeft ? hb.Direction.RTL : hb.Direction.LTR);
      hb.shape(font, buffer);
      const infos = buffer.getGlyphInfos();
      const widths = infos.map(({ codepoint }) => font.glyphHAdvance(codepoint));
      const clusters = infos.map(({ cluster }) => cluster);
      const texts = textsOf(text, clusters, widths);
      const glyphs = infos.map(({ codepoint: id }, index) => ({
        ...{ id, codePoints: texts[index] ?? [], advanceWidth: widths[index] ?? 0 },
      }));
      const positions = buffer.getGlyphPositions().map(({ xAdvance, yAdvance, xOffset, yOffset }, index) => ({
        ...{
          xAdvance: xAdvance * scale,
          yAdvance: yAdvance * scale,
          xOffset: xOffset * scale,
          yOffset: yOffset * scale,
        },
        advanceWidth: (widths[index] ?? 0) * scale,
      }));
      return { glyphs, positions, advanceWidth: positions.reduce((sum, { xAdvance }) => sum + xAdvance, 0) };
    },
  };
}

/** The combining grapheme joiner. Readers that find no character for a glyph take its number for one. */
const invisible = 0x034f;

/** The characters of each glyph: those from its cluster to the next one. Of several glyphs of a cluster, the widest has them. */
function textsOf(text: string, clusters: number[], widths: number[]): number[][] {
  const starts = [...new Set(clusters)].sort((one, other) => one - other);
  const ends = new Map(starts.map((start, index) => [start, starts[index + 1] ?? text.length]));
  const widest = new Map<number, number>();
  for (const [index, cluster] of clusters.entries()) {
    const other = widest.get(cluster);
    if (other === undefined || Number(widths[index]) > Number(widths[other])) widest.set(cluster, index);
  }
  return clusters.map((cluster, index) => {
    if (widest.get(cluster) !== index) return [invisible];
    return Array.from(text.slice(cluster, ends.get(cluster)), (character) => Number(character.codePointAt(0)));
  });
}
