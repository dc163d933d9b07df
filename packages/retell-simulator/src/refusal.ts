import type * as z from "zod";

/** A request that is answered with an error status and a body in the form of Retell's errors. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Retell's message for a chat or an agent that does not exist or belongs to another workspace. */
export const notFound = () => new Refusal(422, "Cannot find requested asset under given api key");

/** Parses a request body. @throws 400 that names the first problem. */
export function parse<Schema extends z.ZodType>(schema: Schema, body: unknown): z.infer<Schema> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Refusal(400, `Invalid request: ${["body", ...(issue?.path ?? [])].join(".")}: ${issue?.message}`);
}
