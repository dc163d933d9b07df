import * as z from "zod";

/** Of what Retell says, deeper levels are left out: MongoDB stores no more than a hundred and some, ours included. */
const maxLevels = 50;

/** Fields of a message that are ours alone, should Retell ever name one of its own so. */
const ours = new Set(["internal", "seq", "delivery"]);
const typeOf = new Map([
  ["message_id", "string"],
  ["tool_call_id", "string"],
  ["created_timestamp", "number"],
]);

/** An entry of a chat as Retell has it. Ids and times are optional on every kind, and there may be kinds unknown to us. */
export const Entry = z.preprocess(
  usable,
  z.looseObject({
    role: z.string(),
    message_id: z.string().optional(),
    created_timestamp: z.number().optional().catch(undefined), // 1e400 is none
    content: z
      .string()
      .optional()
      .catch(({ value }) => JSON.stringify(value)), // what is no text, as it would be written
    tool_call_id: z.string().optional(),
  }),
);
export type Entry = z.infer<typeof Entry>;

/** One odd entry must not hide all others, and with them whether a message has arrived. */
const Entries = z
  .array(z.unknown())
  .transform((entries) => entries.flatMap((entry) => Entry.safeParse(entry).data ?? []));

const Details = z.preprocess((value) => storable(value), z.record(z.string(), z.unknown()).nullish()).catch(undefined);
/** Epoch ms; of another kind, or of no year that a chat can be of, it is as good as absent. */
const Time = z.int().min(1).max(Date.UTC(2100)).nullish().catch(undefined);

export const History = z.object({
  chat_id: z.string().min(1),
  agent_id: z.string().optional().catch(undefined),
  chat_status: z.enum(["ongoing", "ended", "error"]),
  start_timestamp: Time,
  end_timestamp: Time,
  transcript: z.string().nullish().catch(undefined),
  /** Absent where the agent's storage setting keeps no history. */
  message_with_tool_calls: Entries.nullish(),
  collected_dynamic_variables: Details,
  chat_cost: Details,
  chat_analysis: Details,
});
/** A chat as Retell has it; everything but its ids and status may be absent. */
export type History = z.infer<typeof History>;

/** What a completion answers: the new messages of its turn, the user's own not among them. */
export const Completion = z.object({ messages: Entries });

/** Retell's chats, as a list gives them. */
export const Page = z.object({
  items: z.array(z.object({ chat_id: z.string(), metadata: z.unknown() })),
  has_more: z.boolean().optional(),
  pagination_key: z.string().optional(),
});

/** A null is as good as nothing, and so is an id or a time that is none. */
function usable(entry: unknown): unknown {
  if (typeof entry !== "object" || entry === null) return entry;
  const fields = Object.entries(entry).filter(
    ([name, value]) => value !== null && !ours.has(name) && typeof value === (typeOf.get(name) ?? typeof value),
  );
  return storable(Object.fromEntries(fields));
}

/**
 * A value as MongoDB can hold it. What Retell says is not ours to refuse: one field that cannot be stored would keep a
 * chat from being read, settled and ended for ever.
 */
function storable(value: unknown, levels = maxLevels): unknown {
  // Half a surrogate pair would be stored as U+FFFD, and differ from what Retell says for good.
  if (typeof value === "string") return value.toWellFormed();
  if (typeof value !== "object" || value === null) return value;
  if (levels === 0) return null;
  if (Array.isArray(value)) return value.map((item) => storable(item, levels - 1));
  const fields = Object.entries(value).filter(([name]) => isStorable(name));
  return Object.fromEntries(fields.map(([name, inside]) => [name, storable(inside, levels - 1)]));
}

/** The driver takes an object with a `_bsontype` for one of its own. */
const isStorable = (name: string) => name !== "_bsontype" && name !== "__proto__" && !name.includes("\0");
