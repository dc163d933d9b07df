import { type Bounds, within } from "./wait.ts";

/**
 * Runs what belongs to one name one after another, in the order of the calls. A wait that ends early leaves the queue
 * and holds up nobody.
 */
export function queues() {
  const tails = new Map<string, Promise<unknown>>();

  return function enqueue<T>(name: string, bounds: Bounds, run: () => Promise<T>): Promise<T> {
    const before = tails.get(name) ?? Promise.resolve();
    const result = within(before, bounds).then(run);
    const tail = Promise.allSettled([before, result]).then(() => {
      if (tails.get(name) === tail) tails.delete(name);
    });
    tails.set(name, tail);
    return result;
  };
}
