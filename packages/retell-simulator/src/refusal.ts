import type * as z from "zod";

/** A request that is answered with an error status, in the form that Retell's errors have. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Retell's words for a chat or an agent that is not there, or belongs to another workspace. */
export const missing = () => new Refusal(422, "Cannot find requested asset under given api key");

/** What a body says, or a 400 which names the first thing wrong with it. */
export function parse<Schema extends z.ZodType>(schema: Schema, body: unknown): z.infer<Schema> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Refusal(400, `Invalid request: ${["body", ...(issue?.path ?? [])].join(".")}: ${issue?.message}`);
}
