import type { Collection, Filter } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
import { isOutOfTime, isUnreachable } from "../../platform/mongo.ts";
import { cursorAfter, encodeCursor, type Position, positionAfter } from "../cursor.ts";
import type { StoredChat } from "../model.ts";
import { beyond, page as chatsOf, type FoundChat, listedFields } from "../store/chats.ts";
import { hinted, run } from "../store/collection.ts";
import type { ChatFilter } from "./filter.ts";
import { type Match, matchOf } from "./match.ts";

/** Keys of the index that a page examines. It looks at half as many chats: at each twice, the second time for its end. */
const maxExamined = 10_000;
const maxCounted = 10_000;
/** Of each command. A database that is slower for other reasons is told by the connection's own deadline. */
const maxTimeMS = 1_500;

/** Which chats a page has, and where it begins. */
export interface PageOf {
  filter: ChatFilter;
  isAscending: boolean;
  limit: number;
  after: Position | undefined;
  /** What a cursor has of the list. */
  list: string | undefined;
}

export interface ChatPage {
  chats: FoundChat[];
  /** Absent: this is the last page. */
  nextCursor?: string;
  /** The page stopped at its bound of chats or time: it may be short, or empty. */
  isPartial: boolean;
}

/** A number of chats, from a page's beginning on. */
interface Looked {
  /** Those that match. */
  found: FoundChat[];
  /** The last one that was looked at; absent when there are no more, or enough were found. */
  last?: SortKeysOf;
}

/**
 * A page of the chats that a filter matches, by start time.
 *
 * @throws CHAT_LIST_FAILED when Mongo answers with an error, or not in time
 */
export async function findPage(tenant: TenantContext, page: PageOf): Promise<ChatPage> {
  const { limit, after, list } = page;
  const from = after ?? { start_timestamp: { $maxKey: 1 }, chat_id: { $maxKey: 1 }, list };
  const whole = (found: FoundChat[]) => {
    const chats = found.slice(0, limit);
    return { chats, ...(found.length > limit ? { nextCursor: cursorAfter(chats, from) } : {}), isPartial: false };
  };
  // Of all chats, newest first, no more are looked at than are shown.
  if (list === undefined) return whole(await chatsOf(tenant, limit + 1, after));

  // Few at first, as most filters are all in the index: each chat that it finds there is shown.
  const few = Math.ceil(limit * 1.5) + (after?.skip ?? 0) + 1;
  const first = await look(tenant, page, few);
  if (!first) throw new ApiError("CHAT_LIST_FAILED");
  if (!first.last) return whole(first.found);

  const at = positionAfter([first.last], from);
  // Where no cursor can name that chat, the second look begins where the first did.
  const isNamed = at.skip === undefined;
  const seen = isNamed ? first.found : [];
  const rest = isNamed ? { ...page, after: at, limit: limit - seen.length } : page;
  const more = await look(tenant, rest, Math.max(maxExamined / 2 - few, 1));
  // Out of time: the next page goes on from the end of the first look.
  if (!more && isNamed) return { chats: seen, nextCursor: encodeCursor(at), isPartial: true };
  if (!more) throw new ApiError("CHAT_LIST_FAILED");
  const found = [...seen, ...more.found];
  return more.last ? { chats: found, nextCursor: cursorAfter([more.last], from), isPartial: true } : whole(found);
}

/** Undefined when it is out of time. */
async function look(tenant: TenantContext, page: PageOf, size: number): Promise<Looked | undefined> {
  const match = matchOf(tenant, page.filter);
  const asked = { ...page, match, rest: await restOf(match, page), size };
  const found = await matching(tenant, asked);
  if (!found || found.length > page.limit) return found && { found };
  const end = await endOf(tenant, asked);
  return end && { found, ...(end.length > 1 ? { last: end[0] } : {}) };
}

/** A number of chats to look at. */
interface Asked extends PageOf {
  match: Match;
  /** What the index narrows down, from the page's beginning on. */
  rest: Filter<StoredChat>;
  size: number;
}

/** The first chats of a page, among the first that the index has: MongoDB reads all of these. */
async function matching(tenant: TenantContext, asked: Asked): Promise<FoundChat[] | undefined> {
  const { match, rest, size, limit, after } = asked;
  const skip = after?.skip ?? 0;
  const pipeline = [
    { $match: rest },
    { $sort: sortOf(asked) },
    { $limit: size },
    { $match: match.all },
    ...(skip > 0 ? [{ $skip: skip }] : []),
    { $limit: limit + 1 },
    { $project: listedFields },
  ];
  return inTime(tenant, match.index, (chats, hint) =>
    chats.aggregate<FoundChat>(pipeline, { ...hint, maxTimeMS }).toArray(),
  );
}

/** The last chat that `matching` has looked at, and the one after it: fewer than two when there are no more. */
async function endOf(tenant: TenantContext, asked: Asked): Promise<SortKeysOf[] | undefined> {
  const { match, rest, size } = asked;
  return inTime(tenant, match.index, (chats, hint) =>
    chats
      .find(rest, { ...hint, maxTimeMS })
      .sort(sortOf(asked))
      .skip(size - 1)
      .limit(2)
      .project<SortKeysOf>({ _id: 0, start_timestamp: 1, chat_id: 1 })
      .toArray(),
  );
}

type SortKeysOf = Pick<FoundChat, "start_timestamp" | "chat_id">;

const sortOf = ({ isAscending }: PageOf) => {
  const direction = isAscending ? 1 : -1;
  return { start_timestamp: direction, chat_id: direction } as const;
};

/** What the index narrows down, from the page's beginning on. */
async function restOf({ indexed }: Match, { after, isAscending }: PageOf): Promise<Filter<StoredChat>> {
  if (!after) return indexed;
  // The first narrows the index, each of its ranges by itself; the others leave out what pages before have shown.
  const { from, past } = await beyond(after, isAscending ? 1 : -1);
  return { $and: [indexed, from, { $or: past }] };
}

/** How many chats a filter matches. `gte`: at least so many; counting stops at a number of keys, and after a time. */
export async function countChats(
  tenant: TenantContext,
  filter: ChatFilter,
): Promise<{ value: number; relation: "eq" | "gte" }> {
  const { index, indexed, all } = matchOf(tenant, filter);
  const counted = (stages: object[]) => [...stages, { $count: "chats" }];
  const pipeline = [
    { $match: indexed },
    { $limit: maxCounted },
    { $facet: { examined: counted([]), found: counted([{ $match: all }]) } },
  ];
  type Counts = Record<"examined" | "found", [{ chats: number }?]>;
  const result = await inTime(tenant, index, (chats, hint) =>
    chats.aggregate<Counts>(pipeline, { ...hint, maxTimeMS }).toArray(),
  );
  const [counts] = result ?? [];
  const isWhole = counts !== undefined && (counts.examined[0]?.chats ?? 0) < maxCounted;
  return { value: counts?.found[0]?.chats ?? 0, relation: isWhole ? "eq" : "gte" };
}

type Hint = { hint?: Match["index"] };

/**
 * Runs a query by an index.
 *
 * @returns Undefined when Mongo has stopped it at its `maxTimeMS`.
 */
async function inTime<T>(
  tenant: TenantContext,
  index: Match["index"],
  operation: (chats: Collection<StoredChat>, hint: Hint) => Promise<T>,
): Promise<T | undefined> {
  const attempt = (hint: Hint) =>
    run(tenant, (chats) =>
      operation(chats, hint).catch((error) => {
        if (isOutOfTime(error)) return undefined;
        throw error;
      }),
    );
  try {
    return await hinted(index, attempt);
  } catch (cause) {
    throw isUnreachable(cause) ? cause : new ApiError("CHAT_LIST_FAILED", { cause });
  }
}
