import * as z from "zod";
import { namespace } from "../../lib/platform/metrics.ts";

const Name = z.string().min(1).max(1_024);
const Unit = z.enum(["Seconds", "Milliseconds", "Count", "Percent", "None"]);
const Value = z.union([z.number(), z.array(z.number()).min(1).max(100)]);

/**
 * A line in CloudWatch's embedded metric format, by its specification: each name in a directive is a field at the root,
 * a dimension as text, a metric as a number or up to a hundred numbers.
 */
export const MetricLine = z
  .looseObject({
    _aws: z.strictObject({
      Timestamp: z.number().int().min(1_600_000_000_000), // ms, not s
      CloudWatchMetrics: z
        .array(
          z.strictObject({
            Namespace: z.literal(namespace),
            Dimensions: z.array(z.array(Name).min(1).max(30)).min(1),
            Metrics: z.array(z.strictObject({ Name, Unit })).min(1).max(100),
          }),
        )
        .min(1),
    }),
    operationId: z.guid(),
  })
  .superRefine((line, context) => {
    for (const { Dimensions, Metrics } of line._aws.CloudWatchMetrics) {
      for (const name of Dimensions.flat()) {
        if (!Name.safeParse(line[name]).success) context.addIssue(`Dimension ${name} is no text`);
      }
      for (const { Name: name } of Metrics) {
        if (!Value.safeParse(line[name]).success) context.addIssue(`Metric ${name} is no number`);
      }
    }
  });
