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
 * On a busy machine a wait takes longer than its deadline by the time in which its end had come and the process was not
 * let to see it: that time does not count. Neither does a pause of its own making; those are for the benchmark.
 */
export function stopwatch(): () => number {
  const start = awakeMs;
  return () => awakeMs - start;
}
