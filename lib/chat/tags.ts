/**
 * `key=value` of a chat's scalars, for filtering. Two chats with one tag may differ: a tag is cut off, and a key may have
 * a `=`.
 */
export const tagOf = (name: string, value: unknown) => `${name}=${value}`.slice(0, maxTagUnits);

/** The index holds each tag. */
const maxTagUnits = 256;

/** The tags of a chat: its end user and the scalars of its metadata. */
export function tagsOf({ metadata, end_user_id }: { metadata: Record<string, unknown>; end_user_id?: string }) {
  const scalars = Object.entries(metadata).filter(([, value]) =>
    ["string", "number", "boolean"].includes(typeof value),
  );
  const pairs: [string, unknown][] = end_user_id === undefined ? scalars : [["end_user_id", end_user_id], ...scalars];
  return [...new Set(pairs.map(([name, value]) => tagOf(name, value)))];
}
