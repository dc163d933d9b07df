/**
 * Escapes what a terminal would act on, or would not show: control characters (C0, C1), line separators, and format
 * characters, such as those that turn the direction of text. Somebody else's text must not forge a line or move the
 * cursor.
 */
export const visible = (text: string) =>
  text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    const hex = (character.codePointAt(0) ?? 0).toString(16);
    return hex.length <= 4 ? `\\u${hex.padStart(4, "0")}` : `\\u{${hex}}`;
  });
