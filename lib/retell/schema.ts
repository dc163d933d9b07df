import * as z from "zod";
import { readTime } from "../platform/time.ts";
import { type LenientResult, readLeniently } from "./lenient.ts";

/** Deeper levels are removed: MongoDB stores about a hundred levels, including ours. */
const maxLevels = 50;

/** Our own fields of a message. They are removed from Retell's messages, should these ever have one of that name. */
const reservedFields = new Set(["internal", "seq", "delivery", "client_message_id"]);

const Name = z.string().min(1);
const Time = z
  .unknown()
  .transform((value, context) => {
    const time = readTime(value);
    if (time === undefined && value !== null) context.addIssue({ code: "custom", message: "No time" });
    return time;
  })
  .optional();

/** A message of a chat at Retell. Ids and times are optional, and there may be roles that we do not know. */
const RetellMessage = z.preprocess(
  withoutNulls,
  z.looseObject({
    role: z.string(),
    message_id: Name.optional(),
    created_timestamp: Time,
    content: z
      .string()
      .optional()
      .catch(({ value }) => JSON.stringify(value)), // anything else as its JSON
    tool_call_id: Name.optional(),
  }),
);
export type RetellMessage = z.infer<typeof RetellMessage>;

/** The messages without repetitions: a list may contain one several times, with the same id. */
const Entries = z.array(RetellMessage).transform((entries) => {
  const ids = new Set<string>();
  return entries.filter(({ message_id }) => {
    if (message_id === undefined) return true;
    const isFirst = !ids.has(message_id);
    ids.add(message_id);
    return isFirst;
  });
});

const Details = z.preprocess((value) => toStorable(value), z.record(z.string(), z.unknown()).nullish());

/** For billing and metrics, a number. */
const Amount = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^\s*-?\d+(\.\d+)?\s*$/)
      .transform(Number),
  ])
  .nullish();
const Cost = z.preprocess((value) => toStorable(value), z.looseObject({ combined_cost: Amount }).nullish());

const Chat = z
  .object({
    chat_id: Name,
    agent_id: Name.optional(),
    chat_status: z.enum(["ongoing", "ended", "error"]).optional(),
    start_timestamp: Time,
    end_timestamp: Time,
    transcript: z.string().nullish(),
    /** Absent if the agent's storage setting keeps no history. */
    message_with_tool_calls: Entries.nullish(),
    metadata: Details,
    retell_llm_dynamic_variables: Details,
    collected_dynamic_variables: Details,
    chat_cost: Cost,
    chat_analysis: Details,
  })
  // A chat with an unknown status has ended only if it has an end time.
  .transform((chat) => ({ ...chat, chat_status: chat.chat_status ?? (chat.end_timestamp ? "ended" : "ongoing") }));
/** A chat at Retell. Everything but its id and status may be absent. */
export type RetellChat = z.infer<typeof Chat>;

/** Fields that Retell documents as always present. */
const alwaysPresent = ["agent_id", "chat_status"];

/** @throws ZodError when it has no chat id. */
export function readHistory(value: unknown): LenientResult<RetellChat> {
  const missing = alwaysPresent.filter((name) => !Object.hasOwn(Object(value), name));
  const { data, problems } = readLeniently(Chat, value);
  return { data, problems: [...missing, ...problems] };
}

/** The answer to a completion: the turn's new messages, without the user's own. */
const Completion = z.object({ messages: Entries });

/** @throws ZodError when it has no list of messages. */
export const readCompletion = (value: unknown) => readLeniently(Completion, value);

const Page = z.object({
  items: z.array(z.object({ chat_id: Name, metadata: z.unknown().optional() })),
  has_more: z.boolean().nullish(),
  pagination_key: Name.nullish(),
});

/** One page of a list of chats. @throws ZodError when it has no list of items. */
export const readPage = (value: unknown) => readLeniently(Page, value);

/** An entry without null fields, which count as absent, and without our own fields. */
function withoutNulls(entry: unknown): unknown {
  if (typeof entry !== "object" || entry === null) return entry;
  const fields = Object.entries(entry).filter(([name, value]) => value !== null && !reservedFields.has(name));
  return toStorable(Object.fromEntries(fields));
}

/**
 * A value that MongoDB can store. A field that cannot be stored is removed: otherwise the chat could never be read,
 * settled or ended.
 */
function toStorable(value: unknown, levels = maxLevels): unknown {
  // MongoDB stores half a surrogate pair as U+FFFD. The stored text would always differ from Retell's.
  if (typeof value === "string") return value.toWellFormed();
  if (typeof value !== "object" || value === null) return value;
  if (levels === 0) return null;
  if (Array.isArray(value)) return value.map((item) => toStorable(item, levels - 1));
  const fields = Object.entries(value).filter(([name]) => isStorable(name));
  return Object.fromEntries(fields.map(([name, inside]) => [name, toStorable(inside, levels - 1)]));
}

/** The driver treats an object with `_bsontype` as one of its own types. */
const isStorable = (name: string) => name !== "_bsontype" && name !== "__proto__" && !name.includes("\0");
