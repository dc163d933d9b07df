import * as z from "zod";

/** A text of `min` to `max` UTF-16 units. zod's own checks count code points: to them an emoji is one, to us two. */
export const Text = (min: number, max: number) =>
  z
    .string()
    .superRefine(({ length }, context) => {
      const limit = { origin: "string", inclusive: true, continue: false } as const;
      if (length < min) context.addIssue({ ...limit, code: "too_small", minimum: min });
      if (length > max) context.addIssue({ ...limit, code: "too_big", maximum: max });
    })
    .meta({ minLength: min, maxLength: max });
