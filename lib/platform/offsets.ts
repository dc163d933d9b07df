/** From an instant on (epoch ms), the clocks of a time zone are this far ahead of UTC. */
export interface Offset {
  from: number;
  offsetMs: number;
}

export const dayMs = 86_400_000;

/** The offsets of a time zone in a range of instants, oldest first. Two changes of the clock are a day apart or more. */
export function offsetsIn(timeZone: string, from: number, to: number): [Offset, ...Offset[]] {
  const offsetAt = clockOf(timeZone);
  let last: Offset = { from: Number.NEGATIVE_INFINITY, offsetMs: offsetAt(from) };
  const offsets: [Offset, ...Offset[]] = [last];
  for (let before = from; before < to; before += dayMs) {
    const offsetMs = offsetAt(before + dayMs);
    if (offsetMs === last.offsetMs) continue;
    let [low, high] = [before, before + dayMs];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (offsetAt(middle) === last.offsetMs) low = middle;
      else high = middle;
    }
    last = { from: high, offsetMs };
    offsets.push(last);
  }
  return offsets;
}

/** What the clocks show at an instant, as the epoch ms at which UTC shows the same. */
export function localTime(instant: number, offsets: Offset[]): number {
  return instant + (offsets.findLast(({ from }) => from <= instant)?.offsetMs ?? 0);
}

/** The first instant at which the clocks show a local time or a later one: the time itself may be skipped, or shown twice. */
export function instantOf(local: number, offsets: Offset[]): number {
  for (const [index, { from, offsetMs }] of offsets.entries()) {
    const instant = Math.max(local - offsetMs, from);
    if (instant < (offsets[index + 1]?.from ?? Number.POSITIVE_INFINITY)) return instant;
  }
  return local;
}

function clockOf(timeZone: string): (instant: number) => number {
  const numeric = "numeric" as const;
  const units = { year: numeric, month: numeric, day: numeric, hour: numeric, minute: numeric, second: numeric };
  const format = new Intl.DateTimeFormat("en-US", { timeZone, hourCycle: "h23", calendar: "gregory", ...units });
  return (instant) => {
    const parts = format.formatToParts(instant).map(({ type, value }) => [type, Number(value)]);
    const { year, month, day, hour, minute, second } = Object.fromEntries(parts);
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(instant / 1_000) * 1_000;
  };
}
