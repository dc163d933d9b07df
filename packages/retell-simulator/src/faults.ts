import * as z from "zod";
import { ODD_BODIES, ODD_ENCODINGS } from "./odd.ts";
import { hexOf, isOneDraw, kindAt, numbersFrom } from "./random.ts";
import { Step } from "./steps.ts";

const Ms = z.number().min(0);

/** Which requests a fault meets. */
const aim = {
  step: z.enum([...Step.options, "any"]),
  chat_id: z.string().optional(),
  key: z.string().optional(),
  /** How many requests; 0: all until the faults are cleared. */
  count: z.int().min(0).default(1),
};

/**
 * What becomes of the request itself: nothing; done before the fault shows; or done `effectAfterMs` after it.
 * With `replyAfterMs` a completion that is done shows the user's entry at once and the reply so much later.
 */
const effect = {
  effect: z.enum(["none", "before", "after"]).default("none"),
  effectAfterMs: Ms.default(0),
  replyAfterMs: Ms.optional(),
};

/** What goes wrong with a request, and with which. */
export const Fault = z.discriminatedUnion("kind", [
  /** Comes to the server so much later; if the caller has gone by then, it never came. */
  z.strictObject({ ...aim, kind: z.literal("latency"), ms: Ms }),
  /** Comes so much later, and comes even if the caller has gone. */
  z.strictObject({ ...aim, kind: z.literal("late"), ms: Ms }),
  /** The user's entry shows at once, the reply so much later, whether or not the caller still waits. */
  z.strictObject({ ...aim, kind: z.literal("lateReply"), replyAfterMs: Ms }),
  /** An error status. */
  z.strictObject({
    ...aim,
    ...effect,
    kind: z.literal("status"),
    status: z.int().min(300).max(599),
    retryAfter: z.union([z.number(), z.string()]).optional(),
    retryAfterMs: z.number().optional(),
    message: z.string().default("Scripted fault"),
    /** How it is sent. */
    as: z.enum(ODD_ENCODINGS).optional(),
  }),
  /** The connection is cut without an answer. */
  z.strictObject({ ...aim, ...effect, kind: z.literal("drop") }),
  /** The headers and half of the body, then silence or a cut. */
  z.strictObject({ ...aim, ...effect, kind: z.literal("half"), hang: z.boolean().default(false) }),
  /**
   * A 2xx that is not what was promised: a web page, JSON cut short, or JSON of another shape. Or an odd one (odd.ts):
   * then the request is always done.
   */
  z.strictObject({
    ...aim,
    ...effect,
    kind: z.literal("garbage"),
    as: z.enum(["html", "truncated", "shape", ...ODD_BODIES, ...ODD_ENCODINGS]).default("html"),
  }),
  /** No answer, ever. */
  z.strictObject({ ...aim, ...effect, kind: z.literal("hang") }),
  /**
   * An entry stands twice under one message_id in the answer to a completion or a get-chat: its last one ("twice"), or
   * one from before the last message of the user ("earlier"), of no stranger's. Of a user's, in a get-chat alone.
   */
  z.strictObject({
    ...aim,
    kind: z.literal("repeat"),
    which: z.enum(["twice", "earlier"]).default("twice"),
    role: z.enum(["agent", "user"]).default("agent"),
  }),
  /** The last entry of the agent in a get-chat is only the beginning of its text; `transcript` has the whole. */
  z.strictObject({ ...aim, kind: z.literal("beginning") }),
]);
export type Fault = z.infer<typeof Fault>;
export type FaultKind = Fault["kind"];

/** What can be drawn. The first eight and the last two are kinds of faults; the others are statuses of two origins. */
const KINDS = [
  ...(["latency", "late", "lateReply", "status", "drop", "half", "garbage", "hang"] as const),
  /** A 4xx that Retell itself may give, with or without an effect before it; not for what only reads. */
  "refused",
  /** A status that comes from what stands between, with no effect, one before it, or one after it. */
  "between",
  ...(["repeat", "beginning"] as const),
] as const;
const STATUSES = [429, 500, 502, 503];
const REFUSALS = [400, 401, 402, 403, 404, 413, 415, 422, 429];
const BETWEEN = [408, 409, 423, 424, 425, 499, 502, 503, 504];
const WRITES: Step[] = ["create", "completion", "end"];

/** Faults by chance: how likely each kind is, and for which steps. */
export const Chaos = z.strictObject({
  seed: z.int(),
  rates: z.partialRecord(z.enum(KINDS), z.number().min(0).max(1)).refine(isOneDraw, "the rates add up to more than 1"),
  steps: z.array(Step).default([...Step.options]),
  /** The longest delay. */
  maxMs: z.int().min(1).default(2_000),
});
export type Chaos = z.infer<typeof Chaos>;

/** What a fault is aimed at. `chatNumber` is the chat's place in the order of creation; 0 when there is none. */
export type Target = { step: Step; key: string; chat_id?: string; chatNumber: number };

/** The faults to come: scripted ones in their order, else drawn ones. */
export class Faults {
  #queue: { fault: Fault; left: number; met: number }[] = [];
  #chaos: Chaos | undefined;
  readonly #drawn = new Map<string, number>();

  add(faults: Fault[]): void {
    this.#queue.push(...faults.map((fault) => ({ fault, left: fault.count || Number.POSITIVE_INFINITY, met: 0 })));
  }

  /** Those still to come; `left` is null for one that stays until cleared. */
  list() {
    return this.#queue.map(({ fault, left, met }) => ({ ...fault, left: Number.isFinite(left) ? left : null, met }));
  }

  clear(): void {
    this.#queue = [];
  }

  get chaos(): Chaos | undefined {
    return this.#chaos;
  }

  set chaos(chaos: Chaos | undefined) {
    this.#chaos = chaos;
    this.#drawn.clear();
  }

  /** The fault that this request meets, if any. */
  take(target: Target): Fault | undefined {
    const next = this.#queue.find(
      ({ fault }) =>
        (fault.step === "any" || fault.step === target.step) &&
        (fault.chat_id === undefined || fault.chat_id === target.chat_id) &&
        (fault.key === undefined || fault.key === target.key),
    );
    if (!next) return this.#draw(target);
    next.met++;
    next.left--;
    if (next.left === 0) this.#queue = this.#queue.filter((queued) => queued !== next);
    return next.fault;
  }

  /**
   * Each chat draws from a sequence of its own for each step, so that a seed gives a chat the same faults however the
   * requests of different chats mingle.
   */
  #draw({ step, chatNumber }: Target): Fault | undefined {
    const chaos = this.#chaos;
    if (!chaos?.steps.includes(step)) return undefined;
    const sequence = `${step} ${chatNumber}`;
    const ordinal = (this.#drawn.get(sequence) ?? 0) + 1;
    this.#drawn.set(sequence, ordinal);

    const number = numbersFrom(Number.parseInt(hexOf(8, chaos.seed, sequence, ordinal), 16));
    const kind = kindAt(number(), KINDS, chaos.rates);
    if (!kind) return undefined;

    const ms = Math.ceil(number() * chaos.maxMs);
    const status = of(STATUSES, number());
    const isDone = number() < 0.5 && !(kind === "status" && status === 429); // who is over the limit was not served
    switch (kind) {
      case "refused": {
        if (!WRITES.includes(step)) return undefined;
        return Fault.parse({
          step,
          kind: "status",
          status: of(REFUSALS, number()),
          effect: isDone ? "before" : "none",
        });
      }
      case "between": {
        const effect = of(["none", "before", "after"], number());
        const effectAfterMs = effect === "after" ? ms : 0;
        return Fault.parse({ step, kind: "status", status: of(BETWEEN, number()), effect, effectAfterMs });
      }
      case "repeat": {
        const role = step === "retrieve" && number() < 0.25 ? "user" : "agent";
        return Fault.parse({ step, kind, role, which: isDone ? "twice" : "earlier" });
      }
    }
    return Fault.parse({
      step,
      kind,
      ...((kind === "latency" || kind === "late") && { ms }),
      ...(kind === "lateReply" && { replyAfterMs: ms }),
      ...(kind === "status" && { status }),
      ...(kind === "garbage" && { as: number() < 0.5 ? "html" : "truncated" }),
      ...(["status", "drop", "half", "garbage", "hang"].includes(kind) && { effect: isDone ? "before" : "none" }),
    });
  }
}

/** One of several, by a number from 0 to 1. */
function of<T>(choices: T[], number: number): T {
  return choices[Math.floor(number * choices.length)] as T;
}
