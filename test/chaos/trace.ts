import { appendFileSync } from "node:fs";
import type { Collection } from "mongodb";

/** Writes one line of what happened in a run, of this kind. */
export type Trace = (kind: string, what: object) => void;

/** Writes each line in one call, because several processes write into one file. */
export const traceTo =
  (file: string): Trace =>
  (kind, what) =>
    appendFileSync(file, `${JSON.stringify({ till: Date.now(), kind, ...what })}\n`);

/** Messages in short form, one line each, so that the trace of a whole run is readable. */
export function compact(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(compact);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  if (!("role" in value)) return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, compact(one)]));
  const { role, message_id, content, tool_call_id, internal, truth, created_timestamp } = value as never;
  const text = JSON.stringify(String(content ?? "").slice(0, 30));
  const more = [tool_call_id, internal, truth].filter((one) => one !== undefined).map((one) => JSON.stringify(one));
  return `${role} ${message_id} ${text} ${created_timestamp} ${more.join(" ")}`.trimEnd();
}

/** Each write of a chat, in the order in which they were made. */
export function traceWrites(chats: Collection, trace: Trace): () => Promise<void> {
  const changes = chats.watch([], { fullDocument: "updateLookup" });
  changes.on("error", (error) => trace("write", { error: String(error) }));
  changes.on("change", (change) => {
    if (change.operationType !== "update") return;
    const { wallTime: at } = change as { wallTime?: Date };
    const { updatedFields, removedFields } = change.updateDescription;
    const chatId = change.fullDocument?.chat_id;
    trace("write", { at: at?.getTime(), chatId, set: compact(updatedFields), unset: removedFields });
  });
  return () => changes.close();
}
