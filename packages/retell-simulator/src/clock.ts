import { setImmediate } from "node:timers/promises";

type Due = { at: number; run: (at: number) => void };

/** Node fires a longer timer at once instead of late. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * The simulator's own time: it runs with the real one, and a test may push it forward.
 *
 * Whatever happens later is due at a moment of this clock, so that an hour of silence costs a test no hour.
 */
export class Clock {
  #offsetMs: number;
  #due: Due[] = [];
  #timer: NodeJS.Timeout | undefined;
  #advancing: Promise<void> = Promise.resolve();

  constructor(offsetMs = 0) {
    this.#offsetMs = offsetMs;
  }

  /** How far this clock is ahead of the real one. */
  get offsetMs(): number {
    return this.#offsetMs;
  }

  now(): number {
    return Date.now() + this.#offsetMs;
  }

  /** Runs something at a moment, with that moment as its time however late the process gets to it. Returns its cancel. */
  at(moment: number, run: (at: number) => void): () => void {
    const due = { at: moment, run };
    // Equal moments keep the order in which they were asked for.
    let low = 0;
    let high = this.#due.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#due[middle]?.at ?? 0) <= moment) low = middle + 1;
      else high = middle;
    }
    this.#due.splice(low, 0, due);
    this.#arm();
    return () => {
      const index = this.#due.indexOf(due);
      if (index >= 0) this.#due.splice(index, 1);
    };
  }

  /** Resolves when this clock, pushed or not, has come so far. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.at(this.now() + ms, () => resolve()));
  }

  /** Runs what is due by now. */
  catchUp(): void {
    for (let due = this.#due[0]; due && due.at <= this.now(); due = this.#due[0]) {
      this.#due.shift();
      due.run(due.at);
    }
    this.#arm();
  }

  /**
   * Moves forward, moment by moment: what waits for an early moment has done its work, and may have asked for
   * another, before a later one comes. Resolves when all of it has happened.
   */
  advance(ms: number): Promise<void> {
    this.#advancing = this.#advancing.then(async () => {
      const goal = this.now() + ms;
      for (let due = this.#due[0]; due && due.at <= goal; due = this.#due[0]) {
        this.#moveTo(due.at);
        this.catchUp();
        await setImmediate(); // those who awaited this moment go first
      }
      this.#moveTo(goal);
      this.catchUp();
      await setImmediate();
    });
    return this.#advancing;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#due = [];
  }

  #moveTo(moment: number): void {
    this.#offsetMs += Math.max(0, moment - this.now());
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const next = this.#due[0];
    if (!next) return;
    const inMs = Math.min(Math.max(0, next.at - this.now()), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => this.catchUp(), inMs).unref();
  }
}
