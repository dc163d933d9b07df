/** The longest gap between two ticks that counts in full: twice what it is while nothing else wants the processor. */
const mostMs = 20;

let awakeMs = 0;
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  awakeMs += Math.min(now - last, mostMs);
  last = now;
}, mostMs / 2).unref();

/**
 * Starts to measure; the function that it returns tells the milliseconds since then in which this process was awake.
 * What a deadline of ours is cannot be told from what is left of a busy machine: there a wait takes longer by the time
 * in which its end had come and nobody was let to see it. That time does not count.
 */
export function stopwatch(): () => number {
  const start = awakeMs;
  return () => awakeMs - start;
}
