import type * as z from "zod";
import type { TenantContext } from "../../access/tenant.ts";
import type { Deadline } from "../../platform/deadline.ts";
import { ApiError } from "../../platform/errors.ts";
import { ChatStatus, Sentiment } from "../schema.ts";
import * as aggregate from "./aggregate.ts";
import { bucketsOf, type Range, type Slice } from "./buckets.ts";
import type { Analytics, AnalyticsQuery } from "./schema.ts";
import { Summary } from "./summary.ts";

/** Chats that one operation sums up: a fifth of a second of a database at rest, so that a busy one does it in time, too. */
const chatsAtATime = 40_000;
/** MongoDB uses a core for each. The others are left to the sends. */
const slicesAtOnce = 2;
/** What a request sums up at most. Each slice may be half full. */
const maxSlices = 200;
/** A range is not divided further. */
const minSliceMs = 60_000;
const maxAgents = 50;
const maxBuckets = 2_000;
/** What is kept of the request's time for the answer. */
const answerMs = 1_000;

type InTime = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Sums over the chats that began in a range, in total and by buckets of time.
 *
 * @throws VALIDATION_ERROR for more than 2,000 buckets; ANALYTICS_FAILED when the range has too many chats for one
 *         request, or Mongo answers with an error.
 */
export async function analyze(
  tenant: TenantContext,
  range: Range,
  { interval, timezone, group_by }: Pick<AnalyticsQuery, "interval" | "timezone" | "group_by">,
  deadline: Deadline,
): Promise<z.infer<typeof Analytics>> {
  const buckets = bucketsOf(range, interval, timezone);
  const inTime: InTime = async (work) => {
    if (deadline.leftMs < answerMs) throw aggregate.tooManyChats();
    return work().catch((error) => {
      throw error instanceof ApiError ? error : new ApiError("ANALYTICS_FAILED", { cause: error });
    });
  };
  const slices: Slice[] = [];
  for (const slice of buckets.slices) slices.push(...(await divided(tenant, slice, inTime)));
  if (slices.length > maxSlices) throw aggregate.tooManyChats();
  const top = group_by === "agent_id" ? await topAgents(tenant, slices, inTime) : undefined;
  const groups = group_by && (top?.ids ?? knownGroups[group_by as keyof typeof knownGroups]);
  const count = (groups ? groups.length + (top?.hasOthers ? 1 : 0) : 1) * buckets.starts.length;
  if (count > maxBuckets) throw tooManyBuckets(count);

  const summary = new Summary(buckets.starts, groups);
  const only = top?.hasOthers ? top.ids : undefined;
  for (let at = 0; at < slices.length; at += slicesAtOnce) {
    const some = slices.slice(at, at + slicesAtOnce);
    const sums = some.map((slice) => inTime(() => aggregate.sums(tenant, slice, { interval, group_by, only })));
    for (const row of (await Promise.all(sums)).flat()) {
      if (row.key !== null) summary.add(buckets.indexOf(Number(row.key)), row);
    }
  }
  return summary.result();
}

/** The groups that an answer always has, in this order. */
const knownGroups = { status: ChatStatus.options, sentiment: Sentiment.options };

const tooManyBuckets = (count: number) =>
  new ApiError("VALIDATION_ERROR", {
    errors: [
      {
        field: "interval",
        in: "query",
        message: `Makes ${count} buckets with these groups, ${maxBuckets} at most: choose a longer one, or a shorter range`,
      },
    ],
  });

/** Divides a slice until no part has more chats than one operation sums up. */
async function divided(tenant: TenantContext, slice: Slice, inTime: InTime): Promise<Slice[]> {
  const { from, to } = slice;
  const chats = await inTime(() => aggregate.count(tenant, slice, chatsAtATime + 1));
  if (chats <= chatsAtATime || to - from <= minSliceMs) return [slice];
  const middle = Math.floor((from + to) / 2);
  const first = await divided(tenant, { ...slice, to: middle }, inTime);
  if (first.length > maxSlices) return first;
  return [...first, ...(await divided(tenant, { ...slice, from: middle }, inTime))];
}

/**
 * The agents with the most chats in a range, by name.
 *
 * @returns `hasOthers`: there are more, or chats whose agent is no text.
 */
async function topAgents(tenant: TenantContext, slices: Slice[], inTime: InTime) {
  const counts = new Map<unknown, number>();
  for (const slice of slices) {
    for (const { _id, chats } of await inTime(() => aggregate.agents(tenant, slice))) {
      counts.set(_id, (counts.get(_id) ?? 0) + chats);
    }
  }
  const named = [...counts].filter((entry): entry is [string, number] => typeof entry[0] === "string");
  const ids = named.sort(([a, many], [b, more]) => more - many || (a < b ? -1 : 1)).slice(0, maxAgents);
  return { ids: ids.map(([id]) => id).sort(), hasOthers: counts.size > ids.length };
}
