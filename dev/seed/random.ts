export type Random = ReturnType<typeof randomOf>;

/** A stream of numbers that depends only on the name: FNV-1a seeds a mulberry32. */
export function randomOf(name: string) {
  let state = 0x811c9dc5;
  for (const letter of name) state = Math.imul(state ^ (letter.codePointAt(0) ?? 0), 0x01000193);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low: number, high: number) => low + Math.floor(next() * (high - low + 1));
  const of = <T>(choices: readonly T[]): T => {
    const choice = choices[between(0, choices.length - 1)];
    if (choice === undefined) throw new RangeError("Nothing to choose from");
    return choice;
  };
  const hex = (length: number) => {
    let digits = "";
    while (digits.length < length) digits += between(0, 0xff_ff_ff).toString(16).padStart(6, "0");
    return digits.slice(0, length);
  };
  const uuid = () => `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`;
  return { next, between, of, hex, uuid };
}
