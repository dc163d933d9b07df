import { createHash } from "node:crypto";
import * as z from "zod";
import { Cursor } from "../cursor.ts";
import { PollAfter, QueryInteger } from "../schema.ts";
import { type ChatFilter, queryWithFilter } from "./filter.ts";

const newestFirst = "-start_timestamp";

export const ListQuery = queryWithFilter({
  limit: QueryInteger(1, 500).default(100).meta({ description: "Chats per page", example: 100 }),
  cursor: Cursor.optional().meta({
    description: "`meta.nextCursor` of the page before, with the same filters and sort",
  }),
  sort: z
    .enum([newestFirst, "start_timestamp"])
    .default(newestFirst)
    .meta({ description: "Newest first, or oldest first" }),
  include: z.literal("total").optional().meta({ description: "Counts all chats of the filters, in `meta.total`" }),
}).transform(({ sort, ...query }, context) => {
  const isAscending = sort !== newestFirst;
  const list = digestOf(query.filter, isAscending);
  if (query.cursor && query.cursor.list !== list) {
    const message = "Must be a nextCursor of a list with the same filters and sort";
    context.addIssue({ code: "custom", path: ["cursor"], message });
  }
  return { ...query, isAscending, list };
});
export type ListQuery = z.output<typeof ListQuery>;

/** What a cursor has of its list. Undefined for all chats, newest first. */
function digestOf(filter: ChatFilter, isAscending: boolean): string | undefined {
  const entries = Object.entries(filter).sort(([one], [other]) => (one < other ? -1 : 1));
  if (entries.length === 0 && !isAscending) return undefined;
  const text = JSON.stringify([entries, isAscending]);
  return createHash("sha256").update(text).digest("base64url").slice(0, 12);
}

export const ListMeta = z.object({
  count: z.number().int(),
  cached: z.boolean(),
  hasMore: z.boolean(),
  nextCursor: z.string().optional(),
  partial: z.literal(true).optional().meta({
    description:
      "The list stopped at its limit of chats to look at, or of time, before the page was full: `nextCursor` goes on from there",
  }),
  total: z
    .object({ value: z.number().int(), relation: z.enum(["eq", "gte"]) })
    .optional()
    .meta({
      description:
        "With `include=total`. `gte`: at least so many, as it looks at 10,000 chats at most, and not for long",
    }),
  ignored: z.array(z.string()).optional().meta({ description: "Names of the query that mean nothing here" }),
  poll_after_ms: PollAfter,
});
