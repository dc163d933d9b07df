import { stage } from "./stage.ts";

/** Where CloudWatch keeps them. */
export const namespace = "ScalAIChat";

/**
 * What is measured. Each is kept per stage, and some `by` one thing more: CloudWatch bills every combination by the
 * month, so nothing is kept by subaccount, user or chat. Those stand in the log lines.
 */
export const metrics = {
  /** Of a request, or of a run of the sweep; its sample count says how many there were. */
  Duration: { unit: "Milliseconds", by: "Operation" },
  CacheHits: { unit: "Count", by: "Operation" },
  CacheMisses: { unit: "Count", by: "Operation" },
  /** Answers other than 200, the caller's mistakes included. */
  Errors: { unit: "Count", by: "Code" },
  /** Answers of 5xx. */
  Failures: { unit: "Count", by: "Operation" },
  ChatsCreated: { unit: "Count" },
  /** Messages of users that Retell has got. */
  MessagesSent: { unit: "Count" },
  /** From a chat's start to its end. */
  ChatDuration: { unit: "Seconds" },
  MessagesPerChat: { unit: "Count" },
  /** US cents, when a chat's cost is first known; what Retell adds later is not counted. */
  ChatCost: { unit: "None" },
  /** Requests that this instance counted by itself, without Redis. */
  DegradedLimits: { unit: "Count" },
  /** Calls to Retell that got no useful answer, or were not made for that. A refusal of what was asked is an answer. */
  RetellFailures: { unit: "Count" },
  /** Operations for which Mongo could not be reached in time. */
  MongoFailures: { unit: "Count" },
  /** Sends whose outcome nobody knew when they were answered. */
  UnknownTurns: { unit: "Count" },
  /** Age of the oldest turn that a run of the sweep left open. */
  OldestOpenTurn: { unit: "Seconds" },
  /** Runs of the sweep that came to their end. */
  Sweeps: { unit: "Count" },
  /** Looks for orphans that ended none, since a subaccount's database is another one than before. */
  ChangedDatabases: { unit: "Count" },
} as const satisfies Record<string, { unit: string; by?: "Operation" | "Code" }>;

export type Metric = keyof typeof metrics;

/** What stands beside the numbers: the dimensions' values, and what leads from a number to its request. */
interface LineContext {
  operationId: string;
  requestId?: string | undefined;
  Operation: string;
  /** Of the error, if there was one. */
  Code?: string | undefined;
}

/** So many values may stand under one name in one line. */
const maxValues = 100;

/**
 * What one invocation has to count, written as one line in CloudWatch's embedded metric format.
 *
 * Our own, not Powertools': that one keeps every metric of a line by the same dimensions, so this line would be three,
 * and takes 55 us a line instead of 3, and 11 kB of each bundle.
 *
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
export class Metrics {
  readonly #values = new Map<Metric, number[]>();

  /** Adds to a count. */
  add(name: Metric, count = 1): void {
    this.#values.set(name, [(this.#values.get(name)?.[0] ?? 0) + count]);
  }

  /** Adds one sample. */
  put(name: Metric, value: number): void {
    const values = this.#values.get(name);
    if (values) values.push(value);
    else this.#values.set(name, [value]);
  }

  /** Writes what there is, and forgets it. One line; more only where a sweep has closed over a hundred chats. */
  flush(about: LineContext): void {
    const fields = { Stage: stage(), ...about };
    while (this.#values.size > 0) process.stdout.write(`${JSON.stringify(this.#line(fields))}\n`);
  }

  #line(fields: LineContext & { Stage: string }): object {
    const directives = new Map<string, { Name: Metric; Unit: string }[]>();
    const values: Partial<Record<Metric, number | number[]>> = {};
    for (const [name, all] of this.#values) {
      const { unit, by = "" }: { unit: string; by?: string } = metrics[name];
      directives.set(by, [...(directives.get(by) ?? []), { Name: name, Unit: unit }]);
      const some = all.splice(0, maxValues);
      values[name] = some.length === 1 ? some[0] : some;
      if (all.length === 0) this.#values.delete(name);
    }
    return {
      _aws: {
        Timestamp: Date.now(),
        CloudWatchMetrics: Array.from(directives, ([by, Metrics]) => ({
          Namespace: namespace,
          Dimensions: [by === "" ? ["Stage"] : ["Stage", by]],
          Metrics,
        })),
      },
      ...fields,
      ...values,
    };
  }
}
