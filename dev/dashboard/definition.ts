import * as z from "zod";

const Options = z.strictObject({
  id: z.string().optional(),
  label: z.string().optional(),
  stat: z.string().optional(),
  yAxis: z.enum(["left", "right"]).default("left"),
  visible: z.boolean().default(true),
});
const Expression = z.strictObject({ expression: z.string(), label: z.string().default("") });

/** `[namespace, name, dimension, value, …, options]`, or `[{ expression, label }]`. */
const Line = z.union([
  z.tuple([Expression]).transform(([{ expression, label }]) => ({ kind: "expression" as const, expression, label })),
  z.array(z.unknown()).transform((parts) => {
    const [namespace = "", name = "", ...rest] = z.array(z.string()).parse(parts.slice(0, -1));
    const dimensions: Record<string, string> = {};
    for (let i = 0; i < rest.length; i += 2) dimensions[rest[i] ?? ""] = rest[i + 1] ?? "";
    return { kind: "metric" as const, namespace, name, dimensions, ...Options.parse(parts.at(-1)) };
  }),
]);
export type Line = z.infer<typeof Line>;

const place = { x: z.number(), y: z.number(), width: z.number(), height: z.number() };

const Graph = z.strictObject({
  ...place,
  type: z.literal("metric"),
  properties: z.strictObject({
    title: z.string(),
    metrics: z.array(Line),
    region: z.string(),
    view: z.literal("timeSeries"),
    stat: z.string(),
    period: z.number(),
    stacked: z.boolean().default(false),
    yAxis: z.strictObject({ left: z.strictObject({ min: z.number(), max: z.number() }) }).optional(),
  }),
});
export type Graph = z.infer<typeof Graph>;

const States = z.strictObject({
  ...place,
  type: z.literal("alarm"),
  properties: z.strictObject({ title: z.string(), alarms: z.array(z.string()) }),
});
export type States = z.infer<typeof States>;

/** A dashboard, as far as it can be drawn here: whatever else CloudWatch knows is refused, not left out unseen. */
export const Definition = z.strictObject({ widgets: z.array(z.discriminatedUnion("type", [Graph, States])) });
export type Definition = z.infer<typeof Definition>;
