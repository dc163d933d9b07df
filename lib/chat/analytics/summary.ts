import { type Row, summed } from "./aggregate.ts";
import type { AnalyticsBucket, Measures } from "./schema.ts";

/** The sums of some chats, and what is known of their durations (ms), in any order. */
interface Bucket {
  sums: Record<(typeof summed)[number], number>;
  durations: number[];
}

/** Adds up rows into buckets. Each row is in one bucket and in the totals. */
export class Summary {
  readonly #starts: number[];
  readonly #groups: (string | null)[] | undefined;
  readonly #total = emptyBucket();
  /** By group, then by the index of the bucket. */
  readonly #buckets = new Map<string | null | undefined, Bucket[]>();

  /** @param groups Named in this order. Rows of other groups are in the group null, which is last. */
  constructor(starts: number[], groups: readonly string[] | undefined) {
    this.#starts = starts;
    this.#groups = groups && [...groups];
    for (const group of this.#groups ?? [undefined]) this.#buckets.set(group, starts.map(emptyBucket));
  }

  add(index: number, row: Row): void {
    const buckets = this.#bucketsOf(row.group);
    const durations = row.durations.filter((duration) => typeof duration === "number"); // null where it is unknown
    for (const bucket of [buckets[index], this.#total]) {
      if (!bucket) continue;
      for (const name of summed) bucket.sums[name] += Number(row[name]);
      for (const duration of durations) bucket.durations.push(duration);
    }
  }

  /** In order of time, then of groups. */
  result(): { totals: Measures; series: AnalyticsBucket[] } {
    const series = this.#starts.flatMap((start, index) =>
      Array.from(this.#buckets, ([group, buckets]) => ({
        start,
        ...(group === undefined ? {} : { group }),
        ...measuresOf(buckets[index] ?? emptyBucket()),
      })),
    );
    return { totals: measuresOf(this.#total), series };
  }

  #bucketsOf(given: unknown): Bucket[] {
    const group = this.#groups && (this.#groups.find((name) => name === given) ?? this.#otherwise());
    const found = this.#buckets.get(group) ?? this.#starts.map(emptyBucket);
    this.#buckets.set(group, found);
    return found;
  }

  /** Chats without stats are not analyzed. */
  #otherwise = () => (this.#groups?.includes("unknown") ? "unknown" : null);
}

function emptyBucket(): Bucket {
  const sums = Object.fromEntries(summed.map((name) => [name, 0])) as Bucket["sums"];
  return { sums, durations: [] };
}

/** What an answer shows of a bucket. Percentiles are exact, by nearest rank. */
function measuresOf({ sums, durations }: Bucket): Measures {
  const { chats, ended, errors, messages, replies, reply_ms, yes, no, positive, negative, neutral } = sums;
  const sorted = Float64Array.from(durations).sort();
  const total = sorted.reduce((sum, duration) => sum + duration, 0);
  const percentile = (part: number) => sorted[Math.ceil(part * sorted.length) - 1] ?? null;
  return {
    chats,
    ended,
    errors,
    messages,
    duration_ms: { avg: mean(total, sorted.length), p50: percentile(0.5), p95: percentile(0.95) },
    reply_ms: { avg: mean(reply_ms, replies) },
    successful: { yes, no, unknown: chats - yes - no },
    sentiment: { positive, negative, neutral, unknown: chats - positive - negative - neutral },
    cost_cents: Math.round(sums.cost * 10_000) / 10_000,
  };
}

const mean = (sum: number, count: number) => (count === 0 ? null : Math.round(sum / count));
