import { isDeepStrictEqual } from "node:util";

/** Whether a value has no content: null, an empty text, or a list or an object that holds nothing else at any depth. */
export function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === "") return true;
  return isPlain(value) && Object.values(value).every(isEmpty);
}

/** Whether a value holds a null or an empty text at any depth: Retell may still fill it. */
export function hasGap(value: unknown): boolean {
  return value === null || value === "" || (isPlain(value) && Object.values(value).some(hasGap));
}

/**
 * Merges two values, at any depth: where both have content the newer one wins, and a value without content replaces
 * nothing. Lists of different lengths are replaced as a whole, as their items cannot be matched. In lists of the same
 * length, items at the same index are merged, unless they differ in all that both have.
 */
export function merge(older: unknown, newer: unknown): unknown {
  if (isEmpty(newer)) return older;
  if (Array.isArray(older) && Array.isArray(newer) && older.length === newer.length) {
    return newer.map((item, index) => (isOther(older[index], item) ? item : merge(older[index], item)));
  }
  if (!isRecord(older) || !isRecord(newer)) return newer;
  const merged = Object.entries(newer)
    .map(([name, value]) => [name, Object.hasOwn(older, name) ? merge(older[name], value) : value] as const)
    .filter(([name, value]) => Object.hasOwn(older, name) || !isEmpty(value));
  return { ...older, ...Object.fromEntries(merged) };
}

function isOther(older: unknown, newer: unknown): boolean {
  if (isEmpty(older)) return true;
  if (!isRecord(older) || !isRecord(newer)) return false;
  const both = Object.keys(newer).filter((name) => !isEmpty(newer[name]) && !isEmpty(older[name]));
  return both.length > 0 && !both.some((name) => isDeepStrictEqual(newer[name], older[name]));
}

const isPlain = (value: unknown): value is Record<string, unknown> | unknown[] =>
  Array.isArray(value) || isRecord(value);

/** Dates and MongoDB's own types are values, not records. */
function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  return [Object.prototype, null].includes(Object.getPrototypeOf(value));
}
