import type { ReadableChat, ReadableMessage } from "./readable.ts";

/** Markdown in which every text is shown as it is: whatever means something in Markdown is escaped. */
export function toMarkdown({ title, facts, messages }: ReadableChat): string {
  const head = facts.map(([label, text]) => `- ${label}: ${escaped(text)}\n`).join("");
  return [`# ${escaped(title)}\n`, head, ...messages.map(entry)].join("\n");
}

function entry({ at, speaker, notes, text }: ReadableMessage): string {
  const about = [`## ${escaped(speaker)}`, at, ...notes].join(" · ");
  const paragraphs = text.split(/\n(?:[^\S\n]*\n)+/).filter((paragraph) => paragraph.trim() !== "");
  return `${about}\n${paragraphs.map((paragraph) => `\n${paragraphOf(paragraph)}\n`).join("")}`;
}

/** The lines of a paragraph, each ended by a hard break. */
const paragraphOf = (text: string) => text.trim().split("\n").map(escaped).join("\\\n");

/**
 * One line. Escaped are the characters that mean something anywhere, those that do at the beginning of a line, and what
 * GitHub makes links, formulas and emoji of (`www.`, `https://`, `a@b`, `$`, `:smile:`).
 *
 * @see CommonMark 0.31, 2.4 Backslash escapes: any ASCII punctuation may be escaped.
 */
function escaped(line: string): string {
  return line
    .trim()
    .replace(/[\\`*_[\]<>&~|@$]/g, "\\$&")
    .replace(/^[#+=-]/, "\\$&")
    .replace(/^(\d+)([.)])/, "$1\\$2")
    .replace(/:(?=\/\/|[\w+-]+:)/g, "\\:")
    .replace(/www(?=\.)/gi, "$&\\");
}
