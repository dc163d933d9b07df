/** A value inside a JSON value. */
export interface Member {
  name: string;
  value: unknown;
  /** Undefined for the root. */
  parent: Member | undefined;
  /** Of the root: 1. */
  level: number;
}

/** All members of a JSON value, by level. Without recursion, because an attacker chooses the depth. */
export function* members(json: unknown): Generator<Member> {
  const open: Member[] = [{ name: "", value: json, parent: undefined, level: 1 }];
  for (const parent of open) {
    if (typeof parent.value !== "object" || parent.value === null) continue;
    for (const [name, value] of Object.entries(parent.value)) {
      const member = { name, value, parent, level: parent.level + 1 };
      open.push(member);
      yield member;
    }
  }
}

/** The names on the path to a member, its own last. */
export function pathOf(member: Member): string[] {
  const path: string[] = [];
  for (let at = member; at.parent; at = at.parent) path.push(at.name);
  return path.reverse();
}

/** Without the byte order mark with which some clients begin a text. JSON.parse refuses it. */
export const withoutBom = (text: string) => (text.startsWith("\ufeff") ? text.slice(1) : text);

/** The value of a JSON text; undefined if there is none, or it is not JSON. */
export function parseJson(text: string | null | undefined): unknown {
  return parse(text, (json) => JSON.parse(json));
}

/** Like `parseJson`, but an integer that does not fit a double becomes text, so that no digit is lost. */
export function parseExactly(text: string | null | undefined): unknown {
  return parse(text, (json) => (/\d{16}/.test(json) ? parseWithSources(json, largeIntegerAsText) : JSON.parse(json)));
}

/** The same value, parsed so that `sourceOf` knows how its numbers were written. */
export function withSources(json: unknown, text: string): unknown {
  return mayBeWrittenOtherwise.test(text) ? parse(text, (text) => parseWithSources(text, noteSource)) : json;
}

/** How a number was written, if JavaScript would write it differently. */
export const sourceOf = (holder: object, name: string) => sources.get(holder)?.get(name);

/** By the object or array that contains the number, and its name there. */
const sources = new WeakMap<object, Map<string, string>>();

/** Whether a number was written as an integer that does not fit a double. */
export function isLostInteger(value: number, source: string): boolean {
  const sent = decimalOf(source);
  return sent.exponent >= 0 && !isSame(decimalOf(String(value)), sent);
}

function parse(text: string | null | undefined, read: (json: string) => unknown): unknown {
  if (!text) return undefined;
  try {
    return read(withoutBom(text));
  } catch {
    return undefined;
  }
}

/** Returns the value in place of a number. */
type Revive = (value: number, source: string, holder: object, name: string) => unknown;

/** JSON.parse with a reviver is slow, so callers first check whether a text may contain such numbers. */
function parseWithSources(json: string, revive: Revive): unknown {
  // TypeScript does not know the reviver's third argument yet.
  return JSON.parse(json, function (this: object, name: string, value: unknown, context?: { source?: string }) {
    return typeof value === "number" && context?.source ? revive(value, context.source, this, name) : value;
  });
}

/** JavaScript writes numbers of up to 15 digits as they are, except small ones: 0.0000001 becomes 1e-7. */
const mayBeWrittenOtherwise = /[\d.]{16}|0\.0{6}|[:,[\s]-?[\d.]+e-\d{3}/i;

const largeIntegerAsText: Revive = (value, source) =>
  !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? source : value;

const noteSource: Revive = (value, source, holder, name) => {
  if (!isWrittenAlike(value, source)) {
    const noted = sources.get(holder) ?? new Map<string, string>();
    sources.set(holder, noted.set(name, source));
  }
  return value;
};

/** Whether JavaScript writes a number with the same digits, and with an exponent only if the source has one. */
function isWrittenAlike(value: number, source: string): boolean {
  const written = String(value);
  if (!Number.isFinite(value) || written === source) return true;
  if (written.includes("e") && !/e/i.test(source)) return false;
  return isSame(decimalOf(written), decimalOf(source));
}

interface Decimal {
  /** Without zeros at either end. */
  digits: string;
  /** Power of ten. */
  exponent: number;
}

const isSame = (one: Decimal, other: Decimal) => one.digits === other.digits && one.exponent === other.exponent;

/** Parses a finite number of JSON or JavaScript, without its sign. */
function decimalOf(text: string): Decimal {
  const [mantissa = "", power = "0"] = text.replace(/^-/, "").split(/e/i);
  const [whole = "", fraction = ""] = mantissa.split(".");
  const all = whole + fraction;
  let [start, end] = [0, all.length];
  while (all[start] === "0") start += 1;
  while (end > start && all[end - 1] === "0") end -= 1;
  const exponent = start === end ? 0 : Number(power) - fraction.length + all.length - end;
  return { digits: all.slice(start, end), exponent };
}
