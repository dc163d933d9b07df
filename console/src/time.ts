import { useEffect, useState } from "preact/hooks";

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** Of this browser, such as `Europe/Berlin`. */
export const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A date with its time of day, as people here write it. `none` in place of what is no time. */
export function dateTime(ms: number | null | undefined, none = "–"): string {
  return isTime(ms) ? day.format(ms) : none;
}

export function dateOnly(ms: number): string {
  return isTime(ms) ? date.format(ms) : "–";
}

export function timeOfDay(ms: number | null | undefined): string {
  return isTime(ms) ? clock.format(ms) : "";
}

/** Such as `2 min 5 s`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** Whole seconds from now to a time; counts down to 0. */
export function useCountdown(until: number | undefined): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (until === undefined) return;
    setNow(Date.now());
    const timer = setInterval(() => {
      setNow(Date.now());
      if (Date.now() >= until) clearInterval(timer);
    }, 250);
    return () => clearInterval(timer);
  }, [until]);
  return until === undefined ? 0 : Math.max(0, Math.ceil((until - now) / 1000));
}

/** Dates of others may be beyond what a calendar holds. */
const isTime = (ms: unknown): ms is number => typeof ms === "number" && Math.abs(ms) <= 8.64e15;
