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

/**
 * Whether a text shows anything: not only white space, control and format characters, and what Unicode lets a renderer
 * ignore. The braille blank is a symbol to Unicode, though it has no dots.
 */
export const isVisible = (text: string) =>
  /[^\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/u.test(text);
