interface HasHeaders {
  headers?: Record<string, string | undefined>;
}

/**
 * A header as API Gateway hands it on: the name in lower case, lines that were sent several times joined by a comma.
 * Undefined when it was not sent. The event may be anything (manual invokes); this must not throw.
 */
export function headerOf(event: HasHeaders | undefined, name: string): string | undefined {
  const value: unknown = event?.headers?.[name];
  return typeof value === "string" ? value : undefined;
}

interface Spelling {
  /** How many commas one value has by itself, outside of quotes. */
  commas?: number;
  /** The same text for every spelling of a value. */
  spelled?: (line: string) => string;
}

/** Up to a comma that stands in no quotes. A quote that is never closed goes to the end. */
const part = /(?:[^",]+|"(?:[^"\\]|\\.?)*(?:"|$))+/gs;

/**
 * The different values of a header that means one value: none if it was not sent (or is empty), one if all lines say
 * the same, more if they disagree. HTTP clients and proxies repeat headers, so equal lines count as one.
 *
 * A value with a comma of its own cannot be told from two lines, unless the comma stands in quotes or the header always
 * has some (`commas`).
 */
export function valuesOf(
  event: HasHeaders | undefined,
  name: string,
  { commas = 0, spelled = (line) => line }: Spelling = {},
): string[] {
  const parts = headerOf(event, name)?.match(part) ?? [];
  const lines: string[] = [];
  for (let at = 0; at < parts.length; at += commas + 1) lines.push(parts.slice(at, at + commas + 1).join(","));
  // Proxies join lines with white space behind the comma. The HTTP server has removed what surrounds the whole value.
  const trimmed = lines.map((line, at) => {
    const fromStart = at > 0 ? line.trimStart() : line;
    return at < lines.length - 1 ? fromStart.trimEnd() : fromStart;
  });
  return [...new Set(trimmed.map(spelled))];
}

/**
 * The content of a quoted string, as Structured Fields (RFC 9651) write one; any other text is itself. Parameters behind
 * it are not part of it, and who does not know them must ignore them.
 */
export function unquote(text: string): string {
  const [, content] = /^"((?:[^"\\]|\\["\\])*)"[ \t]*(?:;.*)?$/.exec(text) ?? [];
  return content?.replace(/\\(.)/g, "$1") ?? text;
}

/** Whether a Content-Type is JSON's, in any of the forms that RFC 9110 allows: case, and white space before a `;`. */
export const isJsonType = (type: string) => /^[ \t]*application\/([a-z0-9.+-]+\+)?json[ \t]*(;|$)/i.test(type);
