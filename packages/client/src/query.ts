import { ValidationError } from "./errors.ts";

type Value = string | number | boolean | Date;

/** A query string; absent values are left out. Built by hand, since React Native's URLSearchParams is incomplete. */
export function queryOf(values: { [name: string]: Value | undefined }): string {
  const pairs = Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(textOf(value as Value))}`);
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

/**
 * Filters as the API takes them. It separates values by commas and ignores what is empty, so a value with a comma or an
 * array without a value would find other chats than those that are meant.
 *
 * @throws ValidationError
 */
export function filterTexts(filter: { [name: string]: Value | readonly Value[] | undefined }): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [name, given] of Object.entries(filter)) {
    if (given === undefined) continue;
    const values = (Array.isArray(given) ? given : [given]).map(textOf);
    if (values.length === 0 || values.some((text) => text === "" || text.includes(","))) {
      const message = `${name}: a filter needs a value, and no value may have a comma. Give several as an array`;
      throw new ValidationError({ code: "VALIDATION_ERROR", message, fields: [{ field: name, in: "query", message }] });
    }
    texts[name] = values.join();
  }
  return texts;
}

const textOf = (value: Value) => String(value instanceof Date ? value.getTime() : value);
