import * as z from "zod";
import { parseJson } from "../platform/json.ts";
import { Text } from "../platform/text.ts";

/** What a client has seen of a chat: `meta.revision` of a transcript. See changes.ts. */
export interface Revision {
  /** `internal.revision` of the chat: every later write has a higher one. */
  number: number;
  /** The seq of the first and of the last message that it has seen, hidden ones included. With none, last is first - 1. */
  first: number;
  last: number;
  /** The seq of the chat's last message then, which a page may not have reached. */
  end: number;
  /** The seq of the open turn's message; null when no turn was open. */
  open: number | null;
}

const Parts = z
  .tuple([z.int().min(0), z.int(), z.int(), z.int(), z.int().nullable()])
  .transform(([number, first, last, end, open]): Revision => ({ number, first, last, end, open }));

/** An opaque text that becomes a revision. Anything that `encodeRevision` did not write is refused. */
export const RevisionText = Text(1, 200).transform((text, context): Revision => {
  const revision = Parts.safeParse(parseJson(Buffer.from(text, "base64url").toString()));
  if (revision.success) return revision.data;
  context.addIssue({ code: "custom", message: "Must be a meta.revision of this chat" });
  return z.NEVER;
});

export const encodeRevision = ({ number, first, last, end, open }: Revision): string =>
  Buffer.from(JSON.stringify([number, first, last, end, open])).toString("base64url");

/** Of a client that has seen no message with a seq. */
export const nothingSeen: Revision = { number: 0, first: 1, last: 0, end: 0, open: null };
