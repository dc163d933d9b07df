import * as z from "zod";
import { Fault, type Target } from "./fault.ts";
import { isOneDraw, kindAt, numbersOf } from "./random.ts";
import { Step } from "./steps.ts";

/** The order decides what a seed draws. */
const KINDS = [
  ...(["latency", "late", "lateReply", "status", "drop", "half", "garbage", "hang"] as const),
  /** A 4xx of Retell's own, with no effect or one before it; only for requests that change something. */
  "refused",
  /** A status of a proxy in front of Retell, with no effect, one before it or one after it. */
  "between",
  ...(["repeat", "beginning"] as const),
] as const;

const STATUSES = [429, 500, 502, 503];
const REFUSALS = [400, 401, 402, 403, 404, 413, 415, 422, 429];
const PROXY_STATUSES = [408, 409, 423, 424, 425, 499, 502, 503, 504];
const WRITES: Step[] = ["create", "completion", "end"];

/** The probability of each kind, and the steps that meet them. */
export const ChaosOptions = z.strictObject({
  seed: z.int(),
  rates: z.partialRecord(z.enum(KINDS), z.number().min(0).max(1)).refine(isOneDraw, "the rates add up to more than 1"),
  steps: z.array(Step).default([...Step.options]),
  /** The longest delay. */
  maxMs: z.int().min(1).default(2_000),
});
export type ChaosOptions = z.infer<typeof ChaosOptions>;

/**
 * Draws faults by chance. Each chat has its own sequence for each step, so that a seed gives a chat the same faults in
 * whatever order the requests of different chats arrive.
 */
export class Chaos {
  readonly options: ChaosOptions;
  readonly #drawn = new Map<string, number>();

  constructor(options: ChaosOptions) {
    this.options = options;
  }

  draw({ step, chatNumber }: Target): Fault | undefined {
    const { seed, rates, steps, maxMs } = this.options;
    if (!steps.includes(step)) return undefined;
    const sequence = `${step} ${chatNumber}`;
    const ordinal = (this.#drawn.get(sequence) ?? 0) + 1;
    this.#drawn.set(sequence, ordinal);

    const number = numbersOf(seed, sequence, ordinal);
    const kind = kindAt(number(), KINDS, rates);
    const fault = kind && faultOf(kind, step, maxMs, number);
    return fault && Fault.parse({ step, ...fault });
  }
}

type Draft = { [Field in string]: unknown } & { kind: Fault["kind"] };

function faultOf(kind: (typeof KINDS)[number], step: Step, maxMs: number, number: () => number): Draft | undefined {
  const ms = Math.ceil(number() * maxMs);
  const status = pick(STATUSES, number());
  const isDone = number() < 0.5 && !(kind === "status" && status === 429); // a request over the limit is not served
  const effect = isDone ? "before" : "none";
  switch (kind) {
    case "latency":
    case "late":
      return { kind, ms };
    case "lateReply":
      return { kind, replyAfterMs: ms };
    case "status":
      return { kind, status, effect };
    case "drop":
    case "half":
    case "hang":
      return { kind, effect };
    case "garbage":
      return { kind, effect, as: number() < 0.5 ? "html" : "truncated" };
    case "refused":
      return WRITES.includes(step) ? { kind: "status", status: pick(REFUSALS, number()), effect } : undefined;
    case "between": {
      const when = pick(["none", "before", "after"], number());
      const effectAfterMs = when === "after" ? ms : 0;
      return { kind: "status", status: pick(PROXY_STATUSES, number()), effect: when, effectAfterMs };
    }
    case "repeat": {
      const role = step === "retrieve" && number() < 0.25 ? "user" : "agent";
      return { kind, role, which: isDone ? "twice" : "earlier" };
    }
    case "beginning":
      return { kind };
  }
}

/** One of several, by a number from 0 to 1. */
function pick<T>(choices: T[], number: number): T {
  return choices[Math.floor(number * choices.length)] as T;
}
