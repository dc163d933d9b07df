import * as z from "zod";
import { parseJson } from "../platform/json.ts";
import { Text } from "../platform/text.ts";

/** Room for two ids of 1,000 characters; API Gateway takes 10 kB for a request's line and headers. */
const maxCursorLength = 4_096;
/** MongoDB walks over what is skipped. */
const maxSkip = 10_000;

const Int64 = z
  .string()
  .regex(/^-?\d{1,19}$/)
  .refine((text) => String(BigInt.asIntN(64, BigInt(text))) === text);
const Decimal = z.string().regex(/^(NaN|-?Infinity|-?(?=(\d\.?){1,34}(E|$))\d+(\.\d+)?(E[+-]?\d{1,3})?)$/);

/** What chats are sorted by, as JSON: only the types that a stored time or id may have. */
const SortKey = z.union([
  z.null(),
  z.boolean(),
  z.number(),
  z.string().refine((text) => text.isWellFormed()),
  z.strictObject({ $numberDouble: z.enum(["NaN", "Infinity", "-Infinity"]) }),
  z.strictObject({ $numberLong: Int64 }),
  z.strictObject({ $numberDecimal: Decimal }),
  z.strictObject({ $date: z.number().int().min(-8.64e15).max(8.64e15) }),
  z.strictObject({ $oid: z.string().regex(/^[0-9a-f]{24}$/) }),
  z.strictObject({ $maxKey: z.literal(1) }),
]);
export type SortKey = z.infer<typeof SortKey>;

/** What a list is sorted by: both fields, since two chats may begin in the same millisecond. */
export interface SortKeys {
  start_timestamp: SortKey;
  chat_id: SortKey;
}

/** Where a page of a list begins: after these keys, and after `skip` more chats. */
export interface Position extends SortKeys {
  skip?: number | undefined;
  /** Of which list, by `digestOf` its filter and order. Absent: of all chats, newest first. */
  list?: string | undefined;
}

const Skip = z.number().int().max(maxSkip);

const CursorParts = z
  .union([
    z.tuple([SortKey, SortKey, Skip.min(1).optional()]),
    z.tuple([SortKey, SortKey, Skip.min(0), z.string().min(1).max(64)]),
  ])
  .transform(
    ([start_timestamp, chat_id, skip, list]): Position => ({
      ...{ start_timestamp, chat_id },
      ...(skip ? { skip } : {}),
      ...(list ? { list } : {}),
    }),
  );

/** An opaque text that becomes a position. Anything that `encodeCursor` did not write is refused. */
export const Cursor = Text(1, maxCursorLength)
  .meta({ pattern: "^[A-Za-z0-9_-]+$" })
  .transform((text, context): Position => {
    const position = CursorParts.safeParse(parseJson(Buffer.from(text, "base64url").toString()));
    if (position.success) return position.data;
    context.addIssue({ code: "custom", message: "Must be a nextCursor of this list" });
    return z.NEVER;
  });

/** A position as an opaque text. It holds nothing secret, and each query is limited to the subaccount anyway. */
export function encodeCursor({ start_timestamp, chat_id, skip, list }: Position): string {
  const parts = [start_timestamp, chat_id, ...(skip || list ? [skip ?? 0] : []), ...(list ? [list] : [])];
  return Buffer.from(JSON.stringify(parts)).toString("base64url");
}

/** Before all chats, newest first. */
const start: Position = { start_timestamp: { $maxKey: 1 }, chat_id: { $maxKey: 1 } };

/**
 * The position after these chats. If the last chat cannot be named, because of the type or length of its keys, the
 * position names one before it, and how many chats to skip.
 *
 * @param from The position that these chats were read from.
 */
export function positionAfter(chats: Record<keyof SortKeys, unknown>[], from: Position = start): Position {
  // Pages after a cursor contain no chat with a list as a key.
  const passed = chats.filter(({ start_timestamp, chat_id }) => ![start_timestamp, chat_id].some(Array.isArray));
  for (const [index, { start_timestamp, chat_id }] of [...passed.entries()].reverse()) {
    const keys = CursorParts.safeParse([toJson(start_timestamp), toJson(chat_id)]);
    if (!keys.success) continue;
    const position = { ...keys.data, skip: passed.length - 1 - index || undefined, list: from.list };
    if (encodeCursor(position).length <= maxCursorLength) return position;
  }
  return { ...from, skip: (from.skip ?? 0) + passed.length || undefined };
}

/** The cursor of the page that follows these chats: see `positionAfter`. */
export const cursorAfter = (chats: Record<keyof SortKeys, unknown>[], from?: Position) =>
  encodeCursor(positionAfter(chats, from));

/** Recognises the driver's types by name, so that the driver need not be loaded. */
function toJson(value: unknown): unknown {
  if (value instanceof Date) return { $date: value.getTime() };
  if (typeof value === "number" && !Number.isFinite(value)) return { $numberDouble: String(value) };
  const tag = tags.get(Object(value)._bsontype);
  return tag ? { [tag]: String(value) } : (value ?? null);
}

const tags = new Map([
  ["Long", "$numberLong"],
  ["Decimal128", "$numberDecimal"],
  ["ObjectId", "$oid"],
]);
