import { stage } from "./stage.ts";

/** The namespace in CloudWatch. */
export const namespace = "ScalAIChat";

/**
 * The metrics: counts unless another unit is given, each per stage, and some `by` one more dimension. CloudWatch bills
 * every combination of dimensions by the month, so there is none by subaccount, user or chat. Those are in the log lines.
 */
export const metrics = {
  /** Of a request, or of a run of the sweep. Its sample count is the number of requests without `TenantFailures`. */
  Duration: { unit: "Milliseconds", by: "Operation" },
  CacheHits: { by: "Operation" },
  CacheMisses: { by: "Operation" },
  /** Answers other than 200, including 4xx. */
  Errors: { by: "Code" },
  /** Answers of 5xx, without `TenantFailures`. */
  Failures: { by: "Operation" },
  /** Answers of 5xx for a cause that concerns one tenant alone (`TenantCause` in errors.ts). */
  TenantFailures: {},
  ChatsCreated: {},
  /** Messages of users that Retell has received. */
  MessagesSent: {},
  /** From a chat's start to its end. */
  ChatDuration: { unit: "Seconds" },
  MessagesPerChat: {},
  /** US cents, when a chat's cost is first known. What Retell adds later is not counted. */
  ChatCost: { unit: "None" },
  /** Requests that an instance counted by itself, without Redis. */
  DegradedLimits: {},
  /**
   * Calls to Retell without a useful answer, or not made because the circuit was open. A 4xx is an answer: of a call that
   * asks too much, or a tenant's own cause.
   */
  RetellFailures: {},
  /** Operations for which Mongo could not be reached in time, without those on a tenant's own cluster. */
  MongoFailures: {},
  /** Sends whose outcome was unknown when they were answered. */
  UnknownTurns: {},
  /** Age of the oldest turn that a run of the sweep left open, without those that wait for their tenant's account. */
  OldestOpenTurn: { unit: "Seconds" },
  /** Completed runs of the sweep. */
  Sweeps: {},
  /** Subaccounts that a run of the sweep visited. All of them, unless its time was over. */
  SubaccountsSwept: {},
  /** Those among them that cannot work now, for whatever cause. The log names them. */
  SubaccountsFailing: {},
  /** Subaccounts and chats that a run of the sweep could not handle, without tenants' own causes. */
  SweepFailures: {},
  /** Searches for orphans that ended no chat, because the subaccount has another database than before. */
  ChangedDatabases: {},
  /** Background jobs that have ended. */
  JobsCompleted: {},
  JobsFailed: {},
  /** Jobs that the sweep put into the queue again: their message was lost, or their worker has died. */
  JobsRequeued: {},
  /** Messages that the queue did not take. */
  QueueFailures: {},
} as const satisfies Record<string, { unit?: string; by?: "Operation" | "Code" }>;

export type Metric = keyof typeof metrics;

/** What a line has besides its numbers: the dimensions' values, and the ids of the request. */
interface LineContext {
  operationId: string;
  requestId?: string | undefined;
  Operation: string;
  /** The error's code, if there was one. */
  Code?: string | undefined;
}

/** CloudWatch accepts at most 100 values of a name in one line. */
const maxValues = 100;

/**
 * The metrics of one invocation, written as one line in CloudWatch's embedded metric format.
 *
 * Powertools' metrics have the same dimensions for all metrics of a line, so this line would be three. They take 55 µs a
 * line instead of 3, and 11 kB of each bundle.
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

  /** Writes all values, and clears them. One line, or more if a sweep has closed over a hundred chats. */
  flush(about: LineContext): void {
    const fields = { Stage: stage(), ...about };
    while (this.#values.size > 0) process.stdout.write(`${JSON.stringify(this.#line(fields))}\n`);
  }

  #line(fields: LineContext & { Stage: string }): object {
    const directives = new Map<string, { Name: Metric; Unit: string }[]>();
    const values: Partial<Record<Metric, number | number[]>> = {};
    for (const [name, all] of this.#values) {
      const { unit = "Count", by = "" }: { unit?: string; by?: string } = metrics[name];
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
