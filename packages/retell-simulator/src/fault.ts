import * as z from "zod";
import { ODD_BODIES, ODD_ENCODINGS } from "./odd.ts";
import { Step } from "./steps.ts";

const Ms = z.number().min(0);

/** Which requests meet the fault. */
const match = {
  step: z.enum([...Step.options, "any"]),
  chat_id: z.string().optional(),
  key: z.string().optional(),
  /** How many requests; 0: all, until the faults are cleared. */
  count: z.int().min(0).default(1),
};

/**
 * Whether the request is carried out: no; before the client sees the fault; or `effectAfterMs` later. With
 * `replyAfterMs` the user's entry of a completion is stored at that time, and the reply so much later.
 */
const effect = {
  effect: z.enum(["none", "before", "after"]).default("none"),
  effectAfterMs: Ms.default(0),
  replyAfterMs: Ms.optional(),
};

/** The kinds of faults and their parameters. The README has a table of them. */
export const Fault = z.discriminatedUnion("kind", [
  z.strictObject({ ...match, kind: z.literal("latency"), ms: Ms }),
  z.strictObject({ ...match, kind: z.literal("late"), ms: Ms }),
  z.strictObject({ ...match, kind: z.literal("lateReply"), replyAfterMs: Ms }),
  z.strictObject({
    ...match,
    ...effect,
    kind: z.literal("status"),
    status: z.int().min(300).max(599),
    retryAfter: z.union([z.number(), z.string()]).optional(),
    retryAfterMs: z.number().optional(),
    message: z.string().default("Scripted fault"),
    as: z.enum(ODD_ENCODINGS).optional(),
  }),
  z.strictObject({ ...match, ...effect, kind: z.literal("drop") }),
  z.strictObject({ ...match, ...effect, kind: z.literal("half"), hang: z.boolean().default(false) }),
  /** `effect` counts for the first three `as` only: with the others the request is carried out. */
  z.strictObject({
    ...match,
    ...effect,
    kind: z.literal("garbage"),
    as: z.enum(["html", "truncated", "shape", ...ODD_BODIES, ...ODD_ENCODINGS]).default("html"),
  }),
  z.strictObject({ ...match, ...effect, kind: z.literal("hang") }),
  z.strictObject({
    ...match,
    kind: z.literal("repeat"),
    /** "twice": the last entry of the answer; "earlier": one from before the user's last message, of no stranger. */
    which: z.enum(["twice", "earlier"]).default("twice"),
    /** "user" has an effect in a get-chat only. */
    role: z.enum(["agent", "user"]).default("agent"),
  }),
  z.strictObject({ ...match, kind: z.literal("beginning") }),
]);
export type Fault = z.infer<typeof Fault>;

/** A request, as far as the choice of a fault depends on it. `chatNumber` is 0 if there is no chat. */
export type Target = { step: Step; key: string; chat_id?: string; chatNumber: number };
