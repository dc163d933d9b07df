import { dayMs, instantOf, localTime, type Offset, offsetsIn } from "../../platform/offsets.ts";
import type { Interval } from "./schema.ts";

export const hourMs = 3_600_000;

/** From `from`, inclusive, to `to`, exclusive: epoch ms. */
export interface Range {
  from: number;
  to: number;
}

/** A part of a range in which the clocks do not change. */
export interface Slice extends Range {
  offsetMs: number;
}

/**
 * The buckets of a range. A key is what Mongo groups by: the local day, as the epoch ms at which UTC shows its midnight,
 * or the local hour of the day, in ms.
 */
export interface Buckets {
  slices: Slice[];
  /** What an answer calls each bucket: the instant of its start, or the hour of the day. */
  starts: number[];
  /** The index of the bucket of a key. */
  indexOf(key: number): number;
}

/** Days, weeks from Monday on and months as a time zone has them, whatever its clocks do. */
export function bucketsOf({ from, to }: Range, interval: Interval, timeZone: string): Buckets {
  const offsets = offsetsIn(timeZone, from - 32 * dayMs, to + dayMs); // a month may have begun 31 days before
  const slices = slicesOf({ from, to }, offsets);
  if (interval === "hour_of_day") {
    return { slices, starts: Array.from({ length: 24 }, (_, hour) => hour), indexOf: (key) => key / hourMs };
  }
  const { floor, next } = steps[interval];
  const locals: number[] = [];
  const starts: number[] = [];
  for (let local = floor(localTime(from, offsets)); instantOf(local, offsets) < to; local = next(local)) {
    locals.push(local);
    starts.push(instantOf(local, offsets));
  }
  const indexes = new Map(locals.map((local, index) => [local, index]));
  return { slices, starts, indexOf: (key) => indexes.get(floor(key)) ?? starts.length - 1 };
}

function slicesOf({ from, to }: Range, offsets: Offset[]): Slice[] {
  const slices = offsets.map(({ from: change, offsetMs }, index) => ({
    from: Math.max(from, change),
    to: Math.min(to, offsets[index + 1]?.from ?? to),
    offsetMs,
  }));
  return slices.filter((slice) => slice.from < slice.to);
}

const mondayMs = -3 * dayMs; // 1970 began on a Thursday
const floorTo = (local: number, step: number, origin = 0) => Math.floor((local - origin) / step) * step + origin;
const monthOf = (local: number, plus = 0) => {
  const date = new Date(local);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + plus);
};

const steps = {
  day: { floor: (local: number) => floorTo(local, dayMs), next: (local: number) => local + dayMs },
  week: {
    floor: (local: number) => floorTo(local, 7 * dayMs, mondayMs),
    next: (local: number) => local + 7 * dayMs,
  },
  month: { floor: (local: number) => monthOf(local), next: (local: number) => monthOf(local, 1) },
};
