import type { Document } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import { ApiError } from "../../platform/errors.ts";
import { statsIndex } from "../../platform/indexes.ts";
import { isOutOfTime } from "../../platform/mongo.ts";
import { dayMs } from "../../platform/offsets.ts";
import { hinted, run } from "../store/collection.ts";
import { hourMs, type Range, type Slice } from "./buckets.ts";
import type { GroupBy, Interval } from "./schema.ts";

/** Below the limit of one operation, so that Mongo stops before we stop to wait. */
const maxTimeMs = 2_000;

/** What is counted or summed up. */
const sumsOf = {
  chats: 1,
  ended: countIf("$chat_status", "ended"),
  errors: countIf("$chat_status", "error"),
  messages: "$internal.stats.messages",
  cost: "$internal.stats.cost",
  replies: "$internal.stats.replies",
  reply_ms: "$internal.stats.reply_ms",
  positive: countIf("$internal.stats.sentiment", "positive"),
  negative: countIf("$internal.stats.sentiment", "negative"),
  neutral: countIf("$internal.stats.sentiment", "neutral"),
  yes: countIf("$internal.stats.successful", "yes"),
  no: countIf("$internal.stats.successful", "no"),
};
type Summed = keyof typeof sumsOf;
export const summed = Object.keys(sumsOf) as Summed[];

/** The sums of the chats of one bucket and group. */
export interface Row extends Record<Summed, unknown> {
  /** See `Buckets`; null for a chat whose start is no number. */
  key: number | null;
  /** As it is stored: others write into the collection. */
  group?: unknown;
  /** Of the chats whose duration is known. */
  durations: unknown[];
}

const groupFields = {
  status: "$chat_status",
  agent_id: "$agent_id",
  sentiment: "$internal.stats.sentiment",
} as const satisfies Record<GroupBy, string>;

/** A range with more chats than one request sums up. */
export const tooManyChats = (cause?: unknown) =>
  new ApiError("ANALYTICS_FAILED", {
    message: "The range holds too many chats to sum up in one request: ask for a shorter one",
    details: { reason: "too_many_chats" },
    cause,
  });

/** How many chats began in a range, counted to `atMost`. */
export async function count(tenant: TenantContext, range: Range, atMost: number): Promise<number> {
  const [found] = await aggregate<{ n: number }>(tenant, range, [{ $limit: atMost }, { $count: "n" }]);
  return found?.n ?? 0;
}

/** The agents of the chats that began in a range, with how many chats each has. */
export async function agents(tenant: TenantContext, range: Range): Promise<{ _id: unknown; chats: number }[]> {
  return aggregate(tenant, range, [{ $group: { _id: "$agent_id", chats: { $sum: 1 } } }]);
}

/**
 * The sums of the chats that began in a range. Only the index is read.
 *
 * @param only Other values than these are the group null. Absent: each value is a group.
 */
export async function sums(
  tenant: TenantContext,
  slice: Slice,
  { interval, group_by, only }: { interval: Interval; group_by: GroupBy | undefined; only: string[] | undefined },
): Promise<Row[]> {
  const field = group_by && groupFields[group_by];
  const group = only ? { $cond: [{ $in: [field, { $literal: only }] }, field, null] } : field;
  const key = keyOf(slice.offsetMs, interval);
  const found = await aggregate<Omit<Row, "key" | "group"> & { _id: unknown }>(tenant, slice, [
    {
      $group: {
        _id: field ? { key, group } : key,
        ...Object.fromEntries(Object.entries(sumsOf).map(([name, value]) => [name, { $sum: value }])),
        durations: { $push: "$internal.stats.duration_ms" },
      },
    },
  ]);
  return found.map(({ _id, ...row }) => {
    const { key, group } = field ? (_id as Pick<Row, "key" | "group">) : { key: _id as Row["key"], group: undefined };
    return { ...row, key, group };
  });
}

function countIf(field: string, value: string) {
  return { $cond: [{ $eq: [field, value] }, 1, 0] };
}

/**
 * The local day or hour of a chat's start, by arithmetic: $dateTrunc in a time zone takes five times as long, and Mongo's
 * time zones may be of another year than ours.
 */
function keyOf(offsetMs: number, interval: Interval): Document {
  const local = { $add: ["$start_timestamp", offsetMs] };
  const timeOfDay = { $mod: [local, dayMs] };
  const key =
    interval === "hour_of_day"
      ? { $subtract: [timeOfDay, { $mod: [local, hourMs] }] }
      : { $subtract: [local, timeOfDay] };
  return { $cond: [{ $isNumber: "$start_timestamp" }, key, null] };
}

/**
 * Runs stages over the chats that began in a range. A tombstone began at 0, and is in no range. Chats whose start is not
 * a number are left out.
 */
function aggregate<Found extends Document>(
  tenant: TenantContext,
  { from, to }: Range,
  stages: Document[],
): Promise<Found[]> {
  const { subaccountId } = tenant;
  const inRange = { subaccountId, start_timestamp: { $gte: Math.max(1, from), $lt: to } };
  return run(tenant, async (chats) => {
    const find = (options: object) =>
      chats.aggregate<Found>([{ $match: inRange }, ...stages], { maxTimeMS: maxTimeMs, ...options }).toArray();
    try {
      return await hinted(statsIndex, find);
    } catch (error) {
      throw isOutOfTime(error) ? tooManyChats(error) : error;
    }
  });
}
