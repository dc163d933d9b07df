import { readFileSync } from "node:fs";

/** docs/api.md explains what a schema cannot say. The reference takes its words, so that they stand once. */
const page = readFileSync(new URL("../../docs/api.md", import.meta.url), "utf8");

/** The sections that are not named after their route. */
const headings: Partial<Record<string, string>> = { webhook: "Webhooks and the sweep", openapi: "openapi.json" };

/** What concerns all operations: the chapter Basics. */
export const basics = plain(between("## Basics\n", "\n## "));

/** What docs/api.md says of a route, without its examples; empty if it has no section. */
export const proseOn = (name: string) => plain(between(`### ${headings[name] ?? name}\n`, "\n##"));

/** When a code has this status, from the table of errors; empty if it has no row. */
export function whenOf(code: string, status: number): string {
  const rows = [...between("## Errors\n", "\n## ").matchAll(/^\| (.*?) \| (\d+) \| (.*) \|$/gm)];
  const about = rows.filter(([, codes = "", of]) => Number(of) === status && codes.split(/\W+/).includes(code));
  const texts = about.map(([, codes = "", , text]) => {
    const [, condition = ""] = / w(ith .*)/.exec(codes) ?? [];
    return condition ? `W${condition}: ${text}` : text;
  });
  return plain(texts.join(". "));
}

function between(start: string, end: string): string {
  const [, after = ""] = page.split(`\n${start}`);
  return after.split(end)[0] ?? "";
}

/** Without code blocks, and without links into this project, which lead nowhere outside of it. */
function plain(text: string): string {
  return text
    .replace(/^```.*?^```$/gms, "")
    .replace(/\[([^\]]+)\]\((?!https?:)[^)]*\)/g, "$1")
    .replace(/\n{3,}/g, "\n\n")
    .trim();
}
