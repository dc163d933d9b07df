/** The longest gap between two ticks that counts in full: twice the gap on an idle machine. */
const mostMs = 20;

let awakeMs = 0;
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  awakeMs += Math.min(now - last, mostMs);
  last = now;
}, mostMs / 2).unref();

/**
 * Starts to measure. The function that it returns gives the milliseconds since then in which this process could run. On
 * a busy machine a process sees the end of a wait too late; that delay does not count. Pauses that the process causes
 * itself do not count either; the benchmark measures those.
 */
export function stopwatch(): () => number {
  const start = awakeMs;
  return () => awakeMs - start;
}
