import * as z from "zod";
import { readTime } from "../platform/time.ts";
import { type LenientResult, readLeniently } from "./lenient.ts";

/** Of what Retell says, deeper levels are left out: MongoDB stores no more than a hundred and some, ours included. */
const maxLevels = 50;

/** Fields of a message that are ours alone, should Retell ever name one of its own so. */
const reservedFields = new Set(["internal", "seq", "delivery"]);

const Name = z.string().min(1);
const Time = z
  .unknown()
  .transform((value, context) => {
    const time = readTime(value);
    if (time === undefined && value !== null) context.addIssue({ code: "custom", message: "No time" });
    return time;
  })
  .optional();

/** An entry of a chat as Retell has it. Ids and times are optional on every kind, and there may be kinds unknown to us. */
const RetellMessage = z.preprocess(
  withoutNulls,
  z.looseObject({
    role: z.string(),
    message_id: Name.optional(),
    created_timestamp: Time,
    content: z
      .string()
      .optional()
      .catch(({ value }) => JSON.stringify(value)), // what is no text, as it would be written
    tool_call_id: Name.optional(),
  }),
);
export type RetellMessage = z.infer<typeof RetellMessage>;

/** Each entry once: a list may repeat one under its id. */
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

/** Billing and metrics count with this number. */
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
    /** Absent where the agent's storage setting keeps no history. */
    message_with_tool_calls: Entries.nullish(),
    collected_dynamic_variables: Details,
    chat_cost: Cost,
    chat_analysis: Details,
  })
  // A status that we do not know says that the chat is over only together with the time of its end.
  .transform((chat) => ({ ...chat, chat_status: chat.chat_status ?? (chat.end_timestamp ? "ended" : "ongoing") }));
/** A chat as Retell has it; everything but its id and status may be absent. */
export type RetellChat = z.infer<typeof Chat>;

/** Retell promises these with every chat. */
const alwaysPresent = ["agent_id", "chat_status"];

/** @throws ZodError when it names no chat. */
export function readHistory(value: unknown): LenientResult<RetellChat> {
  const missing = alwaysPresent.filter((name) => !Object.hasOwn(Object(value), name));
  const { data, odd } = readLeniently(Chat, value);
  return { data, odd: [...missing, ...odd] };
}

/** What a completion answers: the new messages of its turn, the user's own not among them. */
const Completion = z.object({ messages: Entries });

/** @throws ZodError when it has no list of messages. */
export const readCompletion = (value: unknown) => readLeniently(Completion, value);

const Page = z.object({
  items: z.array(z.object({ chat_id: Name, metadata: z.unknown().optional() })),
  has_more: z.boolean().nullish(),
  pagination_key: Name.nullish(),
});

/** Retell's chats, as a list gives them. @throws ZodError when it has no list of items. */
export const readPage = (value: unknown) => readLeniently(Page, value);

/** A null is as good as nothing. */
function withoutNulls(entry: unknown): unknown {
  if (typeof entry !== "object" || entry === null) return entry;
  const fields = Object.entries(entry).filter(([name, value]) => value !== null && !reservedFields.has(name));
  return toStorable(Object.fromEntries(fields));
}

/**
 * A value as MongoDB can hold it. What Retell says is not ours to refuse: one field that cannot be stored would keep a
 * chat from being read, settled and ended for ever.
 */
function toStorable(value: unknown, levels = maxLevels): unknown {
  // Half a surrogate pair would be stored as U+FFFD, and differ from what Retell says for good.
  if (typeof value === "string") return value.toWellFormed();
  if (typeof value !== "object" || value === null) return value;
  if (levels === 0) return null;
  if (Array.isArray(value)) return value.map((item) => toStorable(item, levels - 1));
  const fields = Object.entries(value).filter(([name]) => isStorable(name));
  return Object.fromEntries(fields.map(([name, inside]) => [name, toStorable(inside, levels - 1)]));
}

/** The driver takes an object with a `_bsontype` for one of its own. */
const isStorable = (name: string) => name !== "_bsontype" && name !== "__proto__" && !name.includes("\0");
