type Value = string | number | boolean | readonly (string | number | boolean)[] | undefined;

/** A query string; absent values are left out. Built by hand, since React Native's URLSearchParams is incomplete. */
export function queryOf(values: { [name: string]: Value }): string {
  const pairs = Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`);
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}
