import type { Collection, Filter } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
import { isBadHint, isOutOfTime, isUnreachable } from "../../platform/mongo.ts";
import { cursorAfter, type Position } from "../cursor.ts";
import type { StoredChat } from "../model.ts";
import { beyond, page as chatsOf, type FoundChat, listedFields } from "../store/chats.ts";
import { run } from "../store/collection.ts";
import type { ChatFilter } from "./filter.ts";
import { type Match, matchOf } from "./match.ts";

/** Keys of an index, and so chats, that a page looks at. */
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
  /** The page stopped at its bound: it may be short, or empty. */
  isPartial: boolean;
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

  let found: FoundChat[] = [];
  let last: SortKeysOf | undefined;
  // Few at first, as most filters are all in the index: each chat that it finds there is shown.
  for (const size of [Math.ceil(limit * 1.5) + (after?.skip ?? 0) + 1, maxExamined]) {
    found = await matching(tenant, page, size);
    last = found.length > limit ? undefined : await lastExamined(tenant, page, size);
    if (!last) return whole(found);
  }
  return { chats: found, ...(last ? { nextCursor: cursorAfter([last], from) } : {}), isPartial: true };
}

/** The first chats of a page, among the first that the index has: MongoDB reads all of these. */
async function matching(tenant: TenantContext, page: PageOf, size: number): Promise<FoundChat[]> {
  const { index, all } = matchOf(tenant, page.filter);
  const skip = page.after?.skip ?? 0;
  const pipeline = [
    { $match: await restOf(tenant, page) },
    { $sort: sortOf(page) },
    { $limit: size },
    { $match: all },
    ...(skip > 0 ? [{ $skip: skip }] : []),
    { $limit: page.limit + 1 },
    { $project: listedFields },
  ];
  return listing(tenant, index, (chats, hint) =>
    chats.aggregate<FoundChat>(pipeline, { ...hint, maxTimeMS }).toArray(),
  );
}

/** The last chat that `matching` has looked at; undefined when it has looked at all that there are. */
async function lastExamined(tenant: TenantContext, page: PageOf, size: number): Promise<SortKeysOf | undefined> {
  const { index } = matchOf(tenant, page.filter);
  const rest = await restOf(tenant, page);
  const [last, next] = await listing(tenant, index, (chats, hint) =>
    chats
      .find(rest, { ...hint, maxTimeMS })
      .sort(sortOf(page))
      .skip(size - 1)
      .limit(2)
      .project<SortKeysOf>({ _id: 0, start_timestamp: 1, chat_id: 1 })
      .toArray(),
  );
  return next && last;
}

type SortKeysOf = Pick<FoundChat, "start_timestamp" | "chat_id">;

const sortOf = ({ isAscending }: PageOf) => {
  const direction = isAscending ? 1 : -1;
  return { start_timestamp: direction, chat_id: direction } as const;
};

/** What the index narrows down, from the page's beginning on. */
async function restOf(tenant: TenantContext, { filter, after, isAscending }: PageOf): Promise<Filter<StoredChat>> {
  const { indexed } = matchOf(tenant, filter);
  if (!after) return indexed;
  // The first narrows the index, each of its ranges by itself; the others leave out what pages before have shown.
  const { from, past } = await beyond(after, isAscending ? 1 : -1);
  return { $and: [indexed, from, { $or: past }] };
}

/** How many chats a filter matches. `gte`: at least so many; counting stops at a number, and after a time. */
export async function countChats(
  tenant: TenantContext,
  filter: ChatFilter,
): Promise<{ value: number; relation: "eq" | "gte" }> {
  const { index, indexed, all } = matchOf(tenant, filter);
  const count = (chats: Collection<StoredChat>, hint: Hint) =>
    chats.countDocuments({ $and: [indexed, all] }, { ...hint, maxTimeMS, limit: maxCounted + 1 }).catch((error) => {
      if (isOutOfTime(error)) return undefined;
      throw error;
    });
  const value = await listing(tenant, index, count);
  if (value === undefined) return { value: 0, relation: "gte" };
  return value > maxCounted ? { value: maxCounted, relation: "gte" } : { value, relation: "eq" };
}

type Hint = { hint?: Match["index"] };

/** Runs a query with a hint, and without one where the database lacks that index: the doctor tells of it. */
async function listing<T>(
  tenant: TenantContext,
  index: Match["index"],
  operation: (chats: Collection<StoredChat>, hint: Hint) => Promise<T>,
): Promise<T> {
  try {
    return await run(tenant, (chats) => operation(chats, { hint: index })).catch((error) => {
      if (isBadHint(error)) return run(tenant, (chats) => operation(chats, {}));
      throw error;
    });
  } catch (cause) {
    throw isUnreachable(cause) ? cause : new ApiError("CHAT_LIST_FAILED", { cause });
  }
}
