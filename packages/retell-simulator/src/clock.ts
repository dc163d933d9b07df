import { setImmediate } from "node:timers/promises";

type Timer = { at: number; run: (at: number) => void };

/** Node runs a timer with a longer delay at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The simulator's clock: real time plus an offset. Tests increase the offset instead of waiting. */
export class Clock {
  /** How far this clock is ahead of real time. */
  offsetMs: number;
  /** Sorted by time; timers for the same time stay in the order in which they were set. */
  #timers: Timer[] = [];
  #timeout: NodeJS.Timeout | undefined;
  #advancing: Promise<void> = Promise.resolve();

  constructor(offsetMs = 0) {
    this.offsetMs = offsetMs;
  }

  now(): number {
    return Date.now() + this.offsetMs;
  }

  /** Calls `run` at that time, and passes it that time even if the process is late. Returns a function that cancels. */
  at(time: number, run: (at: number) => void): () => void {
    const timer = { at: time, run };
    this.#timers.splice(this.#timers.findLastIndex(({ at }) => at <= time) + 1, 0, timer);
    this.#arm();
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.at(this.now() + ms, () => resolve()));
  }

  /** Runs all timers that are due. */
  catchUp(): void {
    for (let timer = this.#timers[0]; timer && timer.at <= this.now(); timer = this.#timers[0]) {
      this.#timers.shift();
      timer.run(timer.at);
    }
    this.#arm();
  }

  /**
   * Moves the clock forward from timer to timer, so that what one timer causes (a new timer, too) happens before the
   * next one runs. Resolves when all of it has happened.
   */
  advance(ms: number): Promise<void> {
    this.#advancing = this.#advancing.then(async () => {
      const end = this.now() + ms;
      for (let timer = this.#timers[0]; timer && timer.at <= end; timer = this.#timers[0]) await this.#moveTo(timer.at);
      await this.#moveTo(end);
    });
    return this.#advancing;
  }

  stop(): void {
    clearTimeout(this.#timeout);
    this.#timers = [];
  }

  async #moveTo(time: number): Promise<void> {
    this.offsetMs += Math.max(0, time - this.now());
    this.catchUp();
    await setImmediate(); // code that awaits this timer runs first
  }

  #arm(): void {
    clearTimeout(this.#timeout);
    const [next] = this.#timers;
    if (!next) return;
    const delayMs = Math.min(Math.max(0, next.at - this.now()), MAX_DELAY_MS);
    this.#timeout = setTimeout(() => this.catchUp(), delayMs).unref();
  }
}
