import * as z from "zod";
import { parseJson } from "../../platform/json.ts";
import { Text } from "../../platform/text.ts";
import { queryWithFilter } from "../find/filter.ts";
import { ListedChat, QueryInteger } from "../schema.ts";
import { maxQueryUnits, parseQuery, type Term } from "./query.ts";
import { hash32 } from "./words.ts";

/** Where a page of a search begins: at this key, without the chats of this key that were shown. */
export interface SearchPosition {
  key: number;
  shown: string[];
}

/** Chats of one key that a position names. They began in the same millisecond, so there are few. */
export const maxShown = 50;

const CursorParts = z.tuple([z.number().int().min(-1), z.array(z.string()).max(maxShown), z.number().int()]);

/** The position as an opaque text, with the search that it belongs to. */
export const encodeSearchCursor = ({ key, shown }: SearchPosition, search: number) =>
  Buffer.from(JSON.stringify([key, shown, search])).toString("base64url");

const Terms = Text(1, maxQueryUnits)
  .meta({
    description:
      '1 to 5 words in what agent and user said, all of which are found in a chat. `"in quotes"`: one after the other. `refun*`: words that begin so, from 3 letters',
    example: "refund",
  })
  .transform((text, context): Term[] => {
    const terms = parseQuery(text);
    if (typeof terms !== "string") return terms;
    context.addIssue({ code: "custom", message: terms });
    return z.NEVER;
  });

export const SearchQuery = queryWithFilter({
  q: Terms,
  limit: QueryInteger(1, 50).default(20).meta({ description: "Chats per page", example: 20 }),
  cursor: Text(1, 8_192).optional().meta({
    pattern: "^[A-Za-z0-9_-]+$",
    description: "`meta.nextCursor` of the page before, with the same words and filters",
  }),
}).transform(({ cursor, ...query }, context) => {
  const { q: terms, filter } = query;
  const entries = Object.entries(filter).sort(([one], [other]) => (one < other ? -1 : 1));
  const search = hash32(JSON.stringify([terms, entries]));
  const known = { ...query, search };
  if (cursor === undefined) return { ...known, from: undefined };
  const parts = CursorParts.safeParse(parseJson(Buffer.from(cursor, "base64url").toString()));
  if (parts.success && parts.data[2] === search) {
    const [key, shown] = parts.data;
    return { ...known, from: { key, shown } };
  }
  context.addIssue({ code: "custom", path: ["cursor"], message: "Must be a nextCursor of this search" });
  return z.NEVER;
});

export const SearchMatch = z.object({
  seq: z.number().int().meta({ description: "Of the message, as in the transcript" }),
  role: z.string().meta({ description: "`agent` or `user`" }),
  text: z.string().meta({
    description: "About 200 characters of the message. `…` stands where it was cut",
    example: "…I would like a refund for my order…",
  }),
  highlights: z.array(z.tuple([z.number().int(), z.number().int()])).meta({
    description: "What was found in `text`: from (inclusive) and to (exclusive) in UTF-16 units, as JavaScript counts",
    example: [[16, 22]],
  }),
});

export const FoundChat = ListedChat.extend({
  matches: z.array(SearchMatch).meta({ description: "Up to 3 messages in which it was found, in order" }),
});

export const SearchMeta = z.object({
  count: z.number().int(),
  hasMore: z.boolean(),
  nextCursor: z.string().optional(),
  partial: z.literal(true).optional().meta({
    description:
      "The search stopped at its limit of time or of chats to look at: `nextCursor` goes on from there. Or a word with * stands for more than 50",
  }),
  ignored: z.array(z.string()).optional().meta({ description: "Names of the query that mean nothing here" }),
});
