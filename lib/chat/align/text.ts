/** Text as it is compared: Retell may trim it, change its line ends or compose its characters differently. */
export const normalized = (text: unknown) =>
  typeof text === "string" ? text.toWellFormed().normalize("NFC").replace(/\s+/g, " ").trim() : "";

/** The same without U+FFFD at its end: a text that was cut in half of a surrogate pair ends so. */
export const comparable = (text: unknown) => normalized(text).replace(/\uFFFD+$/, "");

/** Whether a text is a prefix of a longer one. An absent text counts as empty. */
export function isPrefixOf(half: string | undefined = "", whole: string | undefined): whole is string {
  if (whole === undefined || half === whole) return false;
  if (whole.startsWith(half)) return true;
  const [start, all] = [comparable(half), comparable(whole)];
  return all.length > start.length && all.startsWith(start);
}
