import * as z from "zod";
import type { Position } from "./chat/store.ts";
import { ApiError } from "./errors.ts";

const Cursor = z.tuple([z.number().int(), z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)]);

/** A position as an opaque text. It holds nothing secret, and every query carries the subaccount besides. */
export function encode({ start_timestamp, chat_id }: Position): string {
  return Buffer.from(JSON.stringify([start_timestamp, chat_id])).toString("base64url");
}

/** @throws VALIDATION_ERROR for anything that `encode` did not write. */
export function decode(cursor: string): Position {
  try {
    const [start_timestamp, chat_id] = Cursor.parse(JSON.parse(Buffer.from(cursor, "base64url").toString()));
    return { start_timestamp, chat_id };
  } catch {
    throw new ApiError("VALIDATION_ERROR", {
      errors: [{ field: "query.cursor", message: "Must be a nextCursor of this list" }],
    });
  }
}
