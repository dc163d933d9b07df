import * as z from "zod";

/** A text of `min` to `max` UTF-16 units. zod's own checks count code points, of which an emoji is one, not two. */
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
 * Whether a text has a visible character: not only white space, control and format characters, and what Unicode calls
 * ignorable. The blank braille pattern is a symbol in Unicode, but invisible.
 */
export const isVisible = (text: string) =>
  /[^\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/u.test(text);
