import * as z from "zod";
import { maxErrors } from "../platform/errors.ts";
import { isLostInteger, members, pathOf, sourceOf } from "../platform/json.ts";

/** Retell takes 50 kB of metadata. This leaves room for our ids. */
const maxMetadataBytes = 50_176;
const maxMetadataLevels = 20;
/** The shortest member of a list: a digit and a comma. */
const minMemberBytes = 2;
/** The driver recognises its own types by `_bsontype`, so a plain object with that name cannot be stored. */
const reserved = new Set(["__proto__", "_bsontype"]);
export const unstorable =
  "Must not begin with $, hold a dot, NUL or half of a surrogate pair, or be __proto__ or _bsontype";
export const halved = "Must not hold half of a surrogate pair";

export const isObject = (given: unknown): given is object =>
  typeof given === "object" && given !== null && !Array.isArray(given);

/**
 * Checked before Zod copies it: the source texts of its numbers are known only for the objects that JSON was parsed to.
 */
export const Metadata = z.preprocess(
  (given, context) => {
    const problems = isObject(given) ? problemsOf(given).take(maxErrors) : [];
    for (const problem of problems) context.addIssue({ code: "custom", ...problem });
    return given;
  },
  z
    .looseObject({}, "Must be an object")
    .meta({ description: "Your own data, echoed back", example: { crm_id: "C-99" } })
    .nullish(),
);

/** What is wrong with metadata, and where in it. */
function* problemsOf(metadata: object): Generator<{ path: string[]; message: string }> {
  const tooLarge = { path: [], message: `Must be ${maxMetadataBytes} bytes of JSON at most` };
  let bytes = 0;
  for (const member of members(metadata)) {
    const { name, value, parent, level } = member;
    bytes += minMemberBytes;
    if (bytes > maxMetadataBytes) return yield tooLarge; // the rest is not checked
    const wrong = (message: string) => ({ path: pathOf(member), message });
    if (level > maxMetadataLevels && typeof value === "object" && value !== null) {
      yield { path: [], message: `Must be ${maxMetadataLevels} levels deep at most` };
      return;
    }
    if (!Array.isArray(parent?.value) && !isStorable(name)) yield wrong(`The name: ${unstorable}`);
    if (typeof value === "string" && !value.isWellFormed()) yield wrong(halved);
    if (typeof value !== "number") continue;
    if (!Number.isFinite(value)) yield wrong("Must be a finite number"); // JSON's 1e400
    const source = parent && sourceOf(Object(parent.value), name);
    if (source && isLostInteger(value, source))
      yield wrong("Must be an integer that a double holds: send it as a string");
  }
  if (Buffer.byteLength(JSON.stringify(metadata)) > maxMetadataBytes) yield tooLarge;
}

/** Whether MongoDB stores a field of this name, and the driver reads it as it was. */
export function isStorable(name: string): boolean {
  return !name.startsWith("$") && !/[.\0]/.test(name) && !reserved.has(name) && name.isWellFormed();
}
