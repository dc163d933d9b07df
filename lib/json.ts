/** A value inside a JSON value. */
export interface Member {
  name: string;
  value: unknown;
  /** Undefined for the whole. */
  within: Member | undefined;
  /** Of the whole: 1. */
  level: number;
}

/** All that is inside a JSON value, the shallow first; without recursion, since depth is what an attacker chooses. */
export function* members(json: unknown): Generator<Member> {
  const open: Member[] = [{ name: "", value: json, within: undefined, level: 1 }];
  for (const within of open) {
    if (typeof within.value !== "object" || within.value === null) continue;
    for (const [name, value] of Object.entries(within.value)) {
      const member = { name, value, within, level: within.level + 1 };
      open.push(member);
      yield member;
    }
  }
}

/** The names on the way to a member, its own last. */
export function pathOf(member: Member): string[] {
  const path: string[] = [];
  for (let at = member; at.within; at = at.within) path.push(at.name);
  return path.reverse();
}

/** Some clients begin a text with a byte order mark. It says nothing in UTF-8, and JSON.parse refuses it. */
export const withoutBom = (text: string) => (text.startsWith("\ufeff") ? text.slice(1) : text);

/** The value of a JSON text; undefined where it is no JSON, or there is none. */
export function parseJson(text: string | null | undefined): unknown {
  if (!text) return undefined;
  try {
    return JSON.parse(withoutBom(text));
  } catch {
    return undefined;
  }
}
