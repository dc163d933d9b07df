import * as z from "zod";

/** It refuses the 30th of February, too, which `Date` takes for a day of March. */
const Iso = z.iso.datetime({ offset: true });

/**
 * A time as clients write it, as epoch ms from `min` to `max`. In a query that is not encoded, a plus arrives as a space.
 * Seconds may be left out.
 */
export const Instant = (min: number, max: number) =>
  z
    .string()
    .transform((text) => {
      if (/^-?\d{1,16}$/.test(text)) return Number(text);
      const spelled = text.replace(/ (\d\d:\d\d)$/, "+$1").toUpperCase();
      const written = spelled.replace(/(T\d\d:\d\d)(?=[Z+-])/, "$1:00");
      return Iso.safeParse(written).success ? Date.parse(written) : Number.NaN;
    })
    .refine((ms) => ms >= min && ms <= max, {
      error: "Must be epoch milliseconds, or ISO 8601 with Z or an offset",
      abort: true, // such a time is compared with no other
    });
