import type { Collection } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
import { isOutOfTime } from "../../platform/mongo.ts";
import { matchOf } from "../find/match.ts";
import { type FoundChat, listedFields } from "../store/chats.ts";
import { localRead, messageList } from "../store/collection.ts";
import { matchesIn, type SearchedMessage } from "./matches.ts";
import { msUntil, type Requirement, rarestFirst, requirementsOf } from "./requirements.ts";
import { maxShown, type SearchPosition } from "./schema.ts";
import type { Search, SearchPage } from "./search-index.ts";
import { type Segment, segmentMessages } from "./segment.ts";
import { maxSearchedUnits } from "./words.ts";

/** How long all commands of a search may take together. Then it returns what it has. */
const searchMs = 1_800;
/** Segments that a round reads. Few at first: MongoDB reads all of a round's, and most searches need no more. */
const rounds = [200, 4_000];
/** Texts that a search reads, in UTF-16 units. */
const maxReadUnits = 4_000_000;

/** A segment that has the words, with its chat. */
interface Candidate {
  order: number;
  chat: FoundChat & { chat_id: string; messages: SearchedMessage[] };
}

type Hit = SearchPage["chats"][number] & { key: number };

/** A search while it runs. */
interface Run {
  words: Collection<Segment>;
  tenant: TenantContext;
  search: Search;
  /** The first one has the fewest segments, which are read in order. */
  requirements: Requirement[];
  /** Epoch ms. */
  until: number;
  unitsLeft: number;
  hits: Map<string, Hit>;
}

/** Before all chats. */
const start: SearchPosition = { key: Number.MAX_SAFE_INTEGER, shown: [] };

/**
 * Chats by their words, newest first. The rarest word is read in the order of results, the other words and filters are
 * held against what it finds, and the texts decide.
 *
 * @throws CHAT_LIST_FAILED when it is out of time before it has looked at anything
 */
export async function findInWords(
  words: Collection<Segment>,
  tenant: TenantContext,
  search: Search,
): Promise<SearchPage> {
  const until = Date.now() + searchMs;
  const { requirements, isCut } = await requirementsOf(words, tenant, search.terms, until);
  const ordered = await rarestFirst(words, tenant, requirements, until);
  if (!ordered) return { chats: [], isPartial: isCut };

  const run: Run = { words, tenant, search, requirements: ordered, until, unitsLeft: maxReadUnits, hits: new Map() };
  let at: SearchPosition | undefined = search.from ?? start;
  let isStopped = false;
  for (const size of rounds) {
    const round = await oneRound(run, at, size);
    isStopped = round.isStopped;
    if (round.isStopped && round.key === at.key && run.hits.size === 0) throw new ApiError("CHAT_LIST_FAILED");
    at = round.key === undefined ? undefined : positionAt(round.key, run);
    if (!at || isStopped || run.hits.size >= search.limit) break;
  }
  const isShort = at !== undefined && run.hits.size < search.limit;
  return {
    chats: [...run.hits.values()].map(({ key: _order, ...chat }) => chat),
    ...(at ? { next: at } : {}),
    isPartial: isShort || isCut,
  };
}

/** A position at a key, with the chats of this key that pages so far have shown. If these are too many, after the key. */
function positionAt(key: number, { search: { from }, hits }: Run): SearchPosition {
  const before = from?.key === key ? from.shown : [];
  const shown = [...before, ...[...hits].filter(([, hit]) => hit.key === key).map(([id]) => id)];
  return shown.length > maxShown ? { key: key - 1, shown: [] } : { key, shown };
}

/**
 * Looks at a number of segments from a position on.
 *
 * @returns The key that the next round or page begins with, and whether a limit of time or bytes was met.
 */
async function oneRound(run: Run, at: SearchPosition, size: number): Promise<{ key?: number; isStopped: boolean }> {
  const { search, hits } = run;
  let last = at.key;
  try {
    for await (const { order, chat } of candidates(run, at, size)) {
      if (hits.size >= search.limit && !hits.has(chat.chat_id)) return { key: order, isStopped: false };
      const isOver = run.unitsLeft <= 0 || Date.now() >= run.until;
      if (isOver && order < at.key) return { key: order, isStopped: true };
      judge(run, order, chat);
      last = order;
    }
    const key = await keyAfter(run, at, size);
    if (key === undefined) return { isStopped: false };
    // If more segments have one key than a round reads, the rest of them is left out.
    return { key: key < at.key ? key : at.key - 1, isStopped: false };
  } catch (error) {
    if (!isOutOfTime(error)) throw error;
    return { key: last, isStopped: true };
  }
}

/** Looks for the terms in the messages of a segment. */
function judge(run: Run, key: number, { messages, ...chat }: Candidate["chat"]): void {
  for (const { content } of messages) run.unitsLeft -= content.length;
  if (run.hits.has(chat.chat_id)) return;
  const matches = matchesIn(messages, run.search.terms);
  if (matches) run.hits.set(chat.chat_id, { ...chat, matches, key });
}

/** The segments that have all words, of chats that the filter matches, in order. */
function candidates({ words, tenant, search, requirements, until }: Run, { key, shown }: SearchPosition, size: number) {
  const [rarest = [], ...others] = requirements;
  return words.aggregate<Candidate>(
    [
      { $match: { subaccountId: tenant.subaccountId, words: anyOf(rarest), order: ordersIn(search, key) } },
      { $sort: { order: -1 } },
      { $limit: size },
      { $match: { chat_id: { $nin: shown }, $and: [{}, ...others.map((other) => ({ words: anyOf(other) }))] } },
      {
        $lookup: {
          from: "chats",
          localField: "chat_id",
          foreignField: "chat_id",
          let: { segment: "$segment" },
          pipeline: [
            { $match: matchOf(tenant, search.filter).all },
            { $project: { ...listedFields, messages: messagesOfSegment } },
          ],
          as: "chat",
        },
      },
      { $unwind: "$chat" },
      { $project: { _id: 0, order: 1, chat: 1 } },
    ],
    { ...localRead, batchSize: Math.max(search.limit + 1, size / 20), maxTimeMS: msUntil(until) },
  );
}

/** The key of the segment that follows a round's; undefined when there is none. */
async function keyAfter({ words, tenant, search, requirements, until }: Run, { key }: SearchPosition, size: number) {
  const [rarest = []] = requirements;
  const next = await words.findOne(
    { subaccountId: tenant.subaccountId, words: anyOf(rarest), order: ordersIn(search, key) },
    { sort: { order: -1 }, skip: size, projection: { _id: 0, order: 1 }, ...localRead, maxTimeMS: msUntil(until) },
  );
  return next?.order;
}

/** From a key on, of the chats that began within the filter's times. */
function ordersIn({ filter: { started_after, started_before } }: Search, key: number): object {
  const last = started_before === undefined ? key : Math.min(key, started_before * 1_000 - 1);
  return { $lte: last, ...(started_after === undefined ? {} : { $gte: started_after * 1_000 }) };
}

const anyOf = ([word = "", ...more]: Requirement) => (more.length > 0 ? { $in: [word, ...more] } : word);

/** What agent and user said in a segment, with seq. Messages that others wrote into the collection may lack anything. */
const messagesOfSegment = {
  $let: {
    vars: {
      all: messageList,
      // The index of the segment's first message; negative where the segment begins before the chat's first message.
      first: { $add: [{ $multiply: ["$$segment", segmentMessages] }, { $ifNull: ["$internal.prependedCount", 0] }] },
    },
    in: {
      $filter: {
        input: {
          $map: {
            input: {
              $range: [
                { $max: [0, "$$first"] },
                { $min: [{ $size: "$$all" }, { $add: ["$$first", segmentMessages] }] },
              ],
            },
            as: "index",
            in: {
              $let: {
                vars: { message: { $arrayElemAt: ["$$all", "$$index"] } },
                in: {
                  seq: { $subtract: [{ $add: ["$$index", 1] }, { $ifNull: ["$internal.prependedCount", 0] }] },
                  role: "$$message.role",
                  content: {
                    $cond: [
                      { $eq: [{ $type: "$$message.content" }, "string"] },
                      { $substrCP: ["$$message.content", 0, maxSearchedUnits] },
                      "",
                    ],
                  },
                  failed: "$$message.internal.failed",
                },
              },
            },
          },
        },
        cond: { $and: [{ $in: ["$$this.role", ["agent", "user"]] }, { $ne: ["$$this.failed", true] }] },
      },
    },
  },
};
