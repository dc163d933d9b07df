import type { ReadableChat, ReadableMessage } from "./readable.ts";

/**
 * Plain text. The lines of a message are indented, so that no message can imitate the head or another message. Each line
 * is a paragraph of its own for the order of writing, so that what reorders one line has no effect on the next.
 */
export function toText({ facts, messages }: ReadableChat): string {
  const head = facts.map(([label, text]) => `${label}: ${text}\n`).join("");
  return [head, ...messages.map(entry)].join("\n");
}

function entry({ at, speaker, notes, text }: ReadableMessage): string {
  const lines = text.split("\n").map((line) => `    ${line}\n`);
  return `[${at}] ${[speaker, ...notes.map((note) => `(${note})`)].join(" ")}\n${lines.join("")}`;
}
