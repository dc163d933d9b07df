interface HasHeaders {
  headers?: Record<string, string | undefined>;
}

/**
 * A header as API Gateway passes it: the name in lower case, repeated lines joined by a comma. Undefined when it was not
 * sent. The event may be anything (manual invokes), so this must not throw.
 */
export function headerOf(event: HasHeaders | undefined, name: string): string | undefined {
  const value: unknown = event?.headers?.[name];
  return typeof value === "string" ? value : undefined;
}

/** Whether the value of an If-None-Match names an ETag, by weak comparison (RFC 9110, 13.1.2). */
export const namesEtag = (ifNoneMatch: string | undefined, etag: string) =>
  ifNoneMatch?.split(",").some((one) => ["*", etag].includes(one.trim().replace(/^W\//, ""))) ?? false;

interface Spelling {
  /** How many commas one value contains, outside of quotes. */
  commas?: number;
  /** Maps every spelling of a value to one text. */
  normalize?: (line: string) => string;
}

/** Text up to a comma outside of quotes. A quote that is not closed extends to the end. */
const part = /(?:[^",]+|"(?:[^"\\]|\\.?)*(?:"|$))+/gs;

/**
 * The different values of a header that may have one: none if it was not sent or is empty, one if all lines are equal,
 * more if they differ. HTTP clients and proxies repeat headers, so equal lines count as one.
 *
 * A value that contains a comma looks like two lines, unless the comma is in quotes or every value of the header has as
 * many (`commas`).
 */
export function valuesOf(
  event: HasHeaders | undefined,
  name: string,
  { commas = 0, normalize = (line) => line }: Spelling = {},
): string[] {
  const parts = headerOf(event, name)?.match(part) ?? [];
  const lines: string[] = [];
  for (let at = 0; at < parts.length; at += commas + 1) lines.push(parts.slice(at, at + commas + 1).join(","));
  // Proxies join lines with white space after the comma. The HTTP server has trimmed the whole value.
  const trimmed = lines.map((line, at) => {
    const fromStart = at > 0 ? line.trimStart() : line;
    return at < lines.length - 1 ? fromStart.trimEnd() : fromStart;
  });
  return [...new Set(trimmed.map(normalize))];
}

/**
 * The content of a quoted string of Structured Fields (RFC 9651), without its parameters, which must be ignored where
 * they are unknown. Any other text is returned as it is.
 */
export function unquote(text: string): string {
  const [, content] = /^"((?:[^"\\]|\\["\\])*)"[ \t]*(?:;.*)?$/.exec(text) ?? [];
  return content?.replace(/\\(.)/g, "$1") ?? text;
}

/** Whether a Content-Type is JSON, in any form that RFC 9110 allows: case, and white space before a `;`. */
export const isJsonType = (type: string) => /^[ \t]*application\/([a-z0-9.+-]+\+)?json[ \t]*(;|$)/i.test(type);
