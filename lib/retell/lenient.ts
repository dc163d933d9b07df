import type * as z from "zod";
import type { RequestLog } from "../platform/logger.ts";

/** The readable part of a value, and the paths of what was removed or is missing. */
export interface LenientResult<T> {
  data: T;
  /** Names without values, such as `message_with_tool_calls[].message_id`. */
  problems: string[];
}

/**
 * Parses what another party has sent. What the schema refuses is removed from the value, in place: a field, or if the
 * field is required, the object or list item that contains it.
 *
 * @throws ZodError when nothing is left.
 */
export function readLeniently<T>(schema: z.ZodType<T>, value: unknown): LenientResult<T> {
  const problems = new Set<string>();
  for (;;) {
    const result = schema.safeParse(value);
    if (result.success) return { data: result.data, problems: [...problems] };

    const paths = result.error.issues.map((issue) => issue.path);
    const slots = paths.map((path) => slotOf(value, path));
    for (const path of paths) problems.add(pathName(path));
    for (const slot of slots) {
      if (!slot) throw result.error;
      if (Array.isArray(slot.parent)) slot.parent[Number(slot.name)] = removed;
      else delete slot.parent[slot.name];
    }
    for (const list of new Set(slots.map((slot) => slot?.parent))) if (Array.isArray(list)) removeGaps(list);
  }
}

/** The data of a result. All that was removed is logged in one warning. */
export function dataOf<T>({ data, problems }: LenientResult<T>, log: RequestLog): T {
  if (problems.length > 0) log.warn(`Retell sent what could not be read: ${problems.join(", ")}`);
  return data;
}

interface Slot {
  parent: Record<string, unknown> | unknown[];
  name: string;
}

const removed = Symbol("left out");

/** The deepest existing part of a path, and what contains it; undefined when that is the value itself. */
function slotOf(value: unknown, path: PropertyKey[]): Slot | undefined {
  let slot: Slot | undefined;
  let at = value;
  for (const name of path.map(String)) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) break;
    slot = { parent: at as Slot["parent"], name };
    at = (at as Record<string, unknown>)[name];
  }
  return slot;
}

function removeGaps(list: unknown[]): void {
  let length = 0;
  for (const item of list) if (item !== removed) list[length++] = item;
  list.length = length;
}

/** A path without the positions of list items, so that all items of a list have one name. */
function pathName(path: PropertyKey[]): string {
  const name = path.map((part) => (typeof part === "number" ? "[]" : `.${String(part)}`)).join("");
  return name.replace(/^\./, "") || "(all of it)";
}
