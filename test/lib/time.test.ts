import { expect, it } from "vitest";
import { readTime } from "../../lib/platform/time.ts";

const ms = Date.UTC(2026, 10, 30, 12, 34, 56, 789);

it.each<[string, unknown]>([
  ["ms", ms],
  ["ms as a float", ms + 0.4],
  ["s", ms / 1_000],
  ["µs", ms * 1_000],
  ["ns", ms * 1_000_000],
  ["text of ms", String(ms)],
  ["text of s, blanks around it", ` ${ms / 1_000} `],
  ["text of ns", `${ms}123456`],
  ["text with an exponent", `${ms / 1e12}e12`],
  ["ISO text", "2026-11-30T12:34:56.789Z"],
  ["ISO text of a zone", "2026-11-30T14:34:56.789+02:00"],
  ["ISO text of a zone without a colon", "2026-11-30T04:34:56.789-0800"],
  ["ISO text of a zone of hours", "2026-11-30 12:34:56.789+00"],
  ["ISO text of a zone west of us", "2026-11-30T04:34:56.789-08"],
  ["ISO text of no zone", "2026-11-30T12:34:56.789"],
  ["ISO text with a blank", "2026-11-30 12:34:56.789"],
  ["ISO text with a comma and more digits", "2026-11-30T12:34:56,789123z"],
])("reads a time as %s", (_form, value) => expect(readTime(value)).toBe(ms));

it("reads a date as its first moment, UTC", () => expect(readTime("2026-11-30")).toBe(Date.UTC(2026, 10, 30)));

it.each([
  ...[
    undefined,
    null,
    true,
    {},
    [],
    [ms],
    new Date(ms),
    0,
    -1,
    5,
    3_600,
    -ms,
    1e300,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ],
  ...[
    "",
    " ",
    "today",
    "12:34",
    "Mon 5",
    "1999-12-31T23:59:59Z",
    "2026-13-01",
    "2026-11-30T99:00:00Z",
    "0x18f",
    `${ms}ms`,
  ],
])("says undefined of %j", (value) => expect(readTime(value)).toBeUndefined());
