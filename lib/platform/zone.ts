import * as z from "zod";

/** A time zone that this machine knows by its name, such as `Europe/Berlin`. */
export const TimeZone = z
  .string()
  .max(64)
  .regex(/^[A-Za-z][A-Za-z0-9_+/-]*$/, "Must be a time zone, such as Europe/Berlin")
  .refine(isKnown, "Must be a time zone, such as Europe/Berlin");

function isKnown(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    return true;
  } catch {
    return false;
  }
}
