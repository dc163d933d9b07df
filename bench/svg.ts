/** A complete SVG file with a white background. */
export function picture(width: number, height: number, title: string, content: string[]): string {
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="12" fill="#1f2328">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    ...content,
    "</svg>",
    "",
  ].join("\n");
}

/** One line of text. `more` are attributes. */
export function text(x: number, y: number, content: string, more = ""): string {
  return `<text x="${x}" y="${y}"${more && ` ${more}`}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
