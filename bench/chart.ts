import type { Table } from "./report.ts";

const rowHeight = 22;
const left = 330;
const width = 960;
const full = width - left - 190;

/** Ours as bars, as shares of naive, which is the thin line of full length behind each. */
export function chartOf(tables: Table[]): string {
  const lines: string[] = [];
  let y = 34;
  for (const { title, rows } of tables) {
    const drawn = rows.filter(({ share }) => share !== undefined);
    if (drawn.length === 0) continue;
    lines.push(text(16, y + 14, title, 'font-weight="bold"'));
    y += rowHeight;
    for (const { what, share = 0, isMet } of drawn) {
      const length = Math.min(full, Math.max(2, share * full));
      lines.push(
        text(left - 10, y + 14, what, 'text-anchor="end"'),
        `<rect x="${left}" y="${y + 9}" width="${full}" height="2" fill="#b6bcc4"/>`,
        `<rect x="${left}" y="${y + 3}" width="${length.toFixed(1)}" height="14" fill="${isMet === false ? "#c4532f" : "#2f6fc4"}"/>`,
        text(left + full + 10, y + 14, `${(share * 100).toFixed(0)}%${isMet === false ? ", target not met" : ""}`),
      );
      y += rowHeight;
    }
    y += 8;
  }
  const head = text(16, 22, "Ours as a share of naive (less is better)", 'font-size="15" font-weight="bold"');
  const size = `width="${width}" height="${y + 8}" viewBox="0 0 ${width} ${y + 8}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="12" fill="#1f2328">`,
    "<title>Ours as a share of naive</title>",
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    head,
    ...lines,
    "</svg>",
    "",
  ].join("\n");
}

function text(x: number, y: number, content: string, more = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="${y}"${more && ` ${more}`}>${escaped}</text>`;
}
