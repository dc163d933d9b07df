import type * as z from "zod";
import type { RequestLog } from "../platform/logger.ts";

/** What could be read of a value, and the paths of what had to be left out. */
export interface LenientResult<T> {
  data: T;
  /** Names of the schema, never values: `message_with_tool_calls[].message_id`. */
  odd: string[];
}

/**
 * Reads what another party has sent. What the schema does not take is left out of the value: a field, or where that is
 * needed what it is a field of, such as one item of a list. The value is changed in place.
 *
 * @throws ZodError when nothing is left.
 */
export function readLeniently<T>(schema: z.ZodType<T>, value: unknown): LenientResult<T> {
  const odd = new Set<string>();
  for (;;) {
    const result = schema.safeParse(value);
    if (result.success) return { data: result.data, odd: [...odd] };

    const paths = result.error.issues.map((issue) => issue.path);
    const places = paths.map((path) => parentOf(value, path));
    for (const path of paths) odd.add(pathName(path));
    for (const place of places) {
      if (!place) throw result.error;
      if (Array.isArray(place.parent)) place.parent[Number(place.name)] = removed;
      else delete place.parent[place.name];
    }
    for (const list of new Set(places.map((place) => place?.parent))) if (Array.isArray(list)) removeGaps(list);
  }
}

/** The data of a reading. What had to be left out is one warning. */
export function dataOf<T>({ data, odd }: LenientResult<T>, log: RequestLog): T {
  if (odd.length > 0) log.warn(`Retell sent what could not be read: ${odd.join(", ")}`);
  return data;
}

interface Parent {
  parent: Record<string, unknown> | unknown[];
  name: string;
}

const removed = Symbol("left out");

/** The last step of a path that leads to something; undefined when that is the value itself. */
function parentOf(value: unknown, path: PropertyKey[]): Parent | undefined {
  let place: Parent | undefined;
  let at = value;
  for (const name of path.map(String)) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) break;
    place = { parent: at as Parent["parent"], name };
    at = (at as Record<string, unknown>)[name];
  }
  return place;
}

function removeGaps(list: unknown[]): void {
  let length = 0;
  for (const item of list) if (item !== removed) list[length++] = item;
  list.length = length;
}

/** Which item it was is left out, so that a list has one name however many of its items are odd. */
function pathName(path: PropertyKey[]): string {
  const name = path.map((part) => (typeof part === "number" ? "[]" : `.${String(part)}`)).join("");
  return name.replace(/^\./, "") || "(all of it)";
}
