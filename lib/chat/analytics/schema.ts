import * as z from "zod";
import { Instant } from "../../platform/instant.ts";
import { dayMs } from "../../platform/offsets.ts";
import { TimeZone } from "../../platform/zone.ts";
import { Millis } from "../schema.ts";
import { retellAheadMs } from "../timing.ts";

const defaultDays = 30;
const maxDays = 400;

const Count = z.number().int();
const OrNull = z.number().nullable();

export const Interval = z.enum(["day", "week", "month", "hour_of_day"]);
export type Interval = z.infer<typeof Interval>;

export const GroupBy = z.enum(["agent_id", "status", "sentiment"]);
export type GroupBy = z.infer<typeof GroupBy>;

const Time = Instant(0, Date.UTC(9_999, 0));

/** Instants: `from` inclusive, `to` exclusive. Without them it is the last 30 days. */
export function rangeOf({ from, to }: { from?: number | undefined; to?: number | undefined }) {
  const end = to ?? Date.now() + retellAheadMs;
  return { from: from ?? Math.max(0, end - defaultDays * dayMs), to: end };
}

export const AnalyticsQuery = z
  .object({
    from: Time.optional().meta({
      description: `The earliest start of a chat, inclusive. Absent: ${defaultDays} days before \`to\``,
      example: "2026-03-01T00:00:00+01:00",
    }),
    to: Time.optional().meta({
      description: `The latest start, exclusive, ${maxDays} days after \`from\` at most. Absent: a minute from now, for Retell's clock`,
    }),
    interval: Interval.default("day").meta({
      description: "How long a bucket is. Weeks begin on Monday. `hour_of_day`: 24 buckets, over all days",
    }),
    timezone: TimeZone.default("UTC").meta({ description: "Whose days and hours they are", example: "Europe/Berlin" }),
    group_by: GroupBy.optional().meta({ description: "A series for each value" }),
  })
  .superRefine((query, context) => {
    const { from, to } = rangeOf(query);
    const path = [query.from === undefined ? "to" : "from"];
    const wrong = (message: string) => context.addIssue({ code: "custom", path, message });
    if (from >= to) wrong("`from` must be before `to`");
    if (to - from > maxDays * dayMs) wrong(`Must be a range of ${maxDays} days at most`);
  });
export type AnalyticsQuery = z.output<typeof AnalyticsQuery>;

/** Sums over chats. */
export const Measures = z.object({
  chats: Count.meta({ description: "Chats that began in this time" }),
  ended: Count,
  errors: Count.meta({ description: "Chats with the status `error`" }),
  messages: Count.meta({ description: "Messages of agent and user in chats that are over" }),
  duration_ms: z
    .object({ avg: OrNull, p50: OrNull, p95: OrNull })
    .meta({ description: "Of chats that are over; null where none has a known duration" }),
  reply_ms: z
    .object({ avg: OrNull })
    .meta({ description: "From a user's message to the agent's answer; null where none was timed" }),
  successful: z.object({ yes: Count, no: Count, unknown: Count }),
  sentiment: z.object({ positive: Count, negative: Count, neutral: Count, unknown: Count }),
  cost_cents: z.number().meta({ description: "US cents, as far as costs are known" }),
});
export type Measures = z.infer<typeof Measures>;

export const AnalyticsBucket = Measures.extend({
  start: Millis.meta({
    description: "Epoch milliseconds. With `hour_of_day` the hour, 0 to 23",
    example: 1774738800000,
  }),
  group: z.string().nullable().optional().meta({
    description: "Only with `group_by`. null: all other values. Of agents, the 50 with the most chats are named",
  }),
});
export type AnalyticsBucket = z.infer<typeof AnalyticsBucket>;

export const Analytics = z.object({
  totals: Measures,
  series: z.array(AnalyticsBucket).meta({ description: "Buckets in order of time, empty ones included" }),
});

export const AnalyticsMeta = z.object({
  from: Millis,
  to: Millis,
  timezone: z.string(),
  approximate: z.boolean().meta({ description: "Whether percentiles are estimated, within 5 %" }),
});
