import * as z from "zod";

/** A time zone that this machine knows by its name, such as `Europe/Berlin`. */
export const TimeZone = z
  .string()
  .max(64)
  .regex(/^[A-Za-z][A-Za-z0-9_+/-]*$/, { error: "Must be a time zone, such as Europe/Berlin", abort: true })
  .refine(isKnown, "Must be a time zone, such as Europe/Berlin");

function isKnown(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    return true;
  } catch {
    return false;
  }
}

/** The year 1 to the year 9999. */
const [earliest, latest] = [-62_135_596_800_000, 253_402_300_799_999];

/**
 * Writes times (epoch ms) as a clock in a time zone shows them, with its offset from UTC then:
 * `2026-10-25 02:30:00 +01:00`. A time that is absent, or outside of the years 1 to 9999, is `unknown time`.
 */
export function clockIn(timeZone: string): (ms: number | null | undefined) => string {
  const two = "2-digit";
  const format = new Intl.DateTimeFormat("en-US-u-ca-iso8601-nu-latn", {
    timeZone,
    ...{ year: "numeric", month: two, day: two, hour: two, minute: two, second: two, hourCycle: "h23" },
    timeZoneName: "longOffset",
  });
  return (ms) => {
    if (typeof ms !== "number" || !(ms >= earliest && ms <= latest)) return "unknown time";
    const parts = format.formatToParts(ms);
    const part = (type: Intl.DateTimeFormatPartTypes) => parts.find((one) => one.type === type)?.value ?? "";
    const [year, month, day] = [part("year").padStart(4, "0"), part("month"), part("day")];
    const offset = part("timeZoneName").replace("GMT", "") || "+00:00";
    return `${year}-${month}-${day} ${part("hour")}:${part("minute")}:${part("second")} ${offset}`;
  };
}
