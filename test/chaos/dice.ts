import { hexOf, numbersFrom } from "../../packages/retell-simulator/src/random.ts";

/** Random draws that depend only on the seed and a name, so the draws of one part of a run do not change another's. */
export class Dice {
  readonly #next: () => number;

  constructor(seed: number, ...name: (string | number)[]) {
    this.#next = numbersFrom(Number.parseInt(hexOf(8, seed, ...name), 16));
  }

  /** Whether something happens that has this probability. */
  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + Math.floor(this.#next() * (most - least + 1));
  }

  /** One of several. */
  of<T>(choices: readonly [T, ...T[]]): T {
    return choices[Math.floor(this.#next() * choices.length)] ?? choices[0];
  }
}
