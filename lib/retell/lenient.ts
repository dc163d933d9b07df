import type * as z from "zod";
import type { RequestLog } from "../platform/logger.ts";

/** The readable part of a value, and the paths of what was removed. */
export interface LenientResult<T> {
  data: T;
  /** Names without values, such as `message_with_tool_calls[].message_id`. */
  odd: string[];
}

/**
 * Parses what another party has sent. What the schema refuses is removed from the value, in place: a field, or if the
 * field is required, the object or list item that contains it.
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

/** The data of a result. All that was removed is logged in one warning. */
export function dataOf<T>({ data, odd }: LenientResult<T>, log: RequestLog): T {
  if (odd.length > 0) log.warn(`Retell sent what could not be read: ${odd.join(", ")}`);
  return data;
}

interface Parent {
  parent: Record<string, unknown> | unknown[];
  name: string;
}

const removed = Symbol("left out");

/** The deepest existing part of a path, and what contains it; undefined when that is the value itself. */
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

/** A path without the positions of list items, so that all items of a list have one name. */
function pathName(path: PropertyKey[]): string {
  const name = path.map((part) => (typeof part === "number" ? "[]" : `.${String(part)}`)).join("");
  return name.replace(/^\./, "") || "(all of it)";
}
