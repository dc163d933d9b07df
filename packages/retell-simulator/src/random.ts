import { createHash } from "node:crypto";

/** A generator of numbers from 0 to 1, the same sequence for the same seed (mulberry32). */
export function numbersFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Up to 64 hex digits that depend on the parts alone. */
export function hexOf(length: number, ...parts: (string | number)[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, length);
}

/** A generator of numbers from 0 to 1 that depends on the parts alone. */
export function numbersOf(...parts: (string | number)[]): () => number {
  return numbersFrom(Number.parseInt(hexOf(8, ...parts), 16));
}

/** Whether the probabilities of one draw add up to 1 at most; the rest is the probability of no result. */
export function isOneDraw(rates: Partial<Record<string, number>>): boolean {
  return Object.values(rates).reduce<number>((sum, rate = 0) => sum + rate, 0) <= 1;
}

/** The kind that a number from 0 to 1 selects, if any. */
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
