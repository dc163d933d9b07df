import * as z from "zod";
import { parseJson } from "./json.ts";
import { Text } from "./text.ts";

/** Where a chat stands in a list: both keys, since two chats may begin in the same millisecond. */
const Position = z
  .tuple([z.number().int(), z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)])
  .transform(([start_timestamp, chat_id]) => ({ start_timestamp, chat_id }));
export type Position = z.infer<typeof Position>;

/** An opaque text that becomes a position; anything that `encode` did not write is refused. */
export const Cursor = Text(1, 512).transform((text, context): Position => {
  const position = Position.safeParse(parseJson(Buffer.from(text, "base64url").toString()));
  if (position.success) return position.data;
  context.addIssue({ code: "custom", message: "Must be a nextCursor of this list" });
  return z.NEVER;
});

/** A position as an opaque text. It holds nothing secret, and every query carries the subaccount besides. */
export function encode({ start_timestamp, chat_id }: Position): string {
  return Buffer.from(JSON.stringify([start_timestamp, chat_id])).toString("base64url");
}
