import type { Chaos } from "./chaos.ts";
import type { Fault, Target } from "./fault.ts";

/** The faults to come: those of the queue first, in its order, else those that chaos draws. */
export class Faults {
  chaos: Chaos | undefined;
  #queue: { fault: Fault; left: number; met: number }[] = [];

  add(faults: Fault[]): void {
    this.#queue.push(...faults.map((fault) => ({ fault, left: fault.count || Number.POSITIVE_INFINITY, met: 0 })));
  }

  /** The queue. `left` is null for a fault that stays until it is cleared. */
  list() {
    return this.#queue.map(({ fault, left, met }) => ({ ...fault, left: Number.isFinite(left) ? left : null, met }));
  }

  clear(): void {
    this.#queue = [];
  }

  /** The fault that this request meets, if any. */
  take(target: Target): Fault | undefined {
    const next = this.#queue.find(
      ({ fault }) =>
        (fault.step === "any" || fault.step === target.step) &&
        (fault.chat_id === undefined || fault.chat_id === target.chat_id) &&
        (fault.key === undefined || fault.key === target.key),
    );
    if (!next) return this.chaos?.draw(target);
    next.met++;
    next.left--;
    if (next.left === 0) this.#queue = this.#queue.filter((queued) => queued !== next);
    return next.fault;
  }
}
