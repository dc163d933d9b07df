import type { Table } from "./report.ts";
import { picture, text } from "./svg.ts";

const rowHeight = 22;
const left = 330;
const width = 960;
const full = width - left - 190;

/** A bar chart of ours as a share of naive. The thin line behind each bar is naive, 100 %. */
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
  return picture(width, y + 8, "Ours as a share of naive", [head, ...lines]);
}
