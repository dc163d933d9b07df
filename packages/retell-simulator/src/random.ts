import { createHash } from "node:crypto";

/** Numbers from 0 to 1, the same ones for the same seed (the mulberry32 generator). */
export function numbersFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Hex digits (64 at most) that depend on nothing but the parts: the same seed and ordinal give the same id. */
export function hexOf(length: number, ...parts: (string | number)[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, length);
}

/** Whether chances of one draw make sense together: what is missing to 1 is the chance of none. */
export function isOneDraw(rates: Partial<Record<string, number>>): boolean {
  return Object.values(rates).reduce<number>((sum, rate = 0) => sum + rate, 0) <= 1;
}

/** The kind that a number from 0 to 1 falls on, if any. */
export function kindAt<Kind extends string>(
  number: number,
  kinds: readonly Kind[],
  rates: Partial<Record<Kind, number>>,
): Kind | undefined {
  let left = number;
  return kinds.find((kind) => {
    left -= rates[kind] ?? 0;
    return left < 0;
  });
}
