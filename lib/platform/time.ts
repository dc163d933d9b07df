/** Resolves after a number of ms. */
export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** How far ahead the clock of another instance may be. */
const clockSkewMs = 5_000;

/** Whether a cached value that some instance read at a time (epoch ms) is younger than a number of ms. */
export function isYounger(readAt: number, ms: number): boolean {
  const age = Date.now() - readAt;
  return age > -clockSkewMs && age < ms;
}

const earliest = Date.UTC(2000, 0);
const latest = Date.UTC(2100, 0);
/** The units ms, s, µs and ns, in ms. A number is a time in our range in at most one of them. */
const units = [1, 1_000, 1e-3, 1e-6];

const iso = /^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) ?([Zz]|[+-]\d\d(?::?\d\d)?)?)?$/;

/**
 * Another party's time, in epoch ms. It may be a number or numeric text, whose unit follows from its magnitude, or ISO
 * text, which is UTC if it has no zone. Undefined for anything else, and outside of 2000 to 2100.
 */
export function readTime(value: unknown): number | undefined {
  if (typeof value !== "number" && typeof value !== "string") return undefined;
  const text = String(value).trim();
  const number = text === "" ? Number.NaN : Number(text);
  const times = Number.isNaN(number) ? [fromIso(text)] : units.map((ms) => number * ms);
  const time = times.find((ms) => ms >= earliest && ms < latest);
  return time === undefined ? undefined : Math.round(time);
}

function fromIso(text: string): number {
  const [, date, clock = "00:00", zone = "Z"] = iso.exec(text) ?? [];
  const offset = /^[+-]\d\d$/.test(zone) ? `${zone}:00` : zone.toUpperCase();
  return date === undefined ? Number.NaN : Date.parse(`${date}T${clock.replace(",", ".")}${offset}`);
}

/**
 * How many seconds an answer asks to wait: `retry-after-ms`, or `retry-after` as seconds, an HTTP date or another time.
 * Limited to 1 to 60; 1 if it cannot be read.
 */
export function readRetryAfter(headers: Pick<Headers, "get"> | undefined): number {
  const [ms, after] = ["retry-after-ms", "retry-after"].map((name) => oneOf(headers?.get(name)?.trim() ?? ""));
  const seconds = ms && Number.isFinite(Number(ms)) ? Number(ms) / 1_000 : secondsOf(after ?? "");
  return Math.min(60, Math.max(1, Math.ceil(seconds) || 1));
}

/** The number, which may be quoted, have a unit, or be in two lines, which are joined by a comma. */
const oneOf = (text: string) => /^"?(\d+(?:\.\d+)?)"?\s*(?:s|sec|seconds?)?\s*(?:,|$)/i.exec(text)?.[1] ?? text;

function secondsOf(after: string): number {
  const time = readTime(after) ?? (Number.isNaN(Number(after)) ? Date.parse(after) : undefined);
  return time === undefined ? Number(after) : (time - Date.now()) / 1_000;
}
