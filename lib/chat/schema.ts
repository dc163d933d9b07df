import * as z from "zod";
import { sourceOf } from "../platform/json.ts";
import { isVisible, Text } from "../platform/text.ts";
import { halved, isObject, isStorable, Metadata, unstorable } from "./metadata.ts";
import { RevisionText } from "./revision.ts";

const maxVariables = 100;

const version = "Must be an integer from 0, or a tag of 1 to 20 of a-z, 0-9, _ and -";

export const SubaccountId = z
  .string()
  .regex(/^[0-9a-fA-F]{24}$/, "Must be 24 hexadecimal characters")
  .transform((id) => id.toLowerCase())
  .meta({ description: "The tenant", example: "64b000000000000000000001" });

/** Names of present and future routes that stand where a path has a chat's id. */
export const routeNames = [
  ...["create", "list", "search", "analytics", "exports", "live"],
  ...["batches", "templates", "webhooks", "attention"],
];

export const ChatId = z
  .string()
  .regex(/^(?!\.{1,2}$)[A-Za-z0-9._:-]{1,128}$/, "Must be 1 to 128 of A-Z, a-z, 0-9, ., _, : and -, not . or ..")
  .refine((id) => !routeNames.includes(id), "Must not be a name of the API's own routes")
  .meta({ description: "Retell's id of the chat", example: "chat_98c944f3a1c0e8ac1a2b3c4d5e6" });

export const ChatStatus = z.enum(["ongoing", "ended", "error"]).meta({ description: "`error` is as final as `ended`" });
export type ChatStatus = z.infer<typeof ChatStatus>;

/** Of the user, as Retell's analysis has it. `unknown`: not analyzed. */
export const Sentiment = z.enum(["positive", "negative", "neutral", "unknown"]);
export type Sentiment = z.infer<typeof Sentiment>;

export const Millis = z.number().meta({ description: "Epoch milliseconds", example: 1759398000000 });

export const InSubaccount = z.object({ subaccountId: SubaccountId });
export const InChat = z.object({ subaccountId: SubaccountId, chatId: ChatId });

const AgentId = Text(1, 128).meta({
  description: "One of the subaccount's agents",
  example: "agent_1ffdb9717585adc1a2b3c4d5e6",
});

const AgentVersion = z
  .union([z.number().int().min(0), z.string().regex(/^[a-z0-9_-]{1,20}$/, version)], version)
  .meta({ description: "A version's number or a tag; absent: the latest", example: "prod" });

/**
 * A null counts as absent, unless the name is refused. A number with more digits than a double holds becomes the text
 * that was sent. A body has room for thousands of variables: one more than allowed is enough to refuse it.
 */
const givenVariables = (given: unknown) => {
  if (!isObject(given)) return given;
  const present = Object.entries(given).filter(([name, value]) => value !== null || !isStorable(name));
  const first = present.slice(0, maxVariables + 1);
  return Object.fromEntries(first.map(([name, value]) => [name, sourceOf(given, name) ?? value]));
};

const DynamicVariables = z
  .record(
    Text(1, 128).refine(isStorable, unstorable),
    z
      .union([z.string(), z.number(), z.boolean()], "Must be a string, a finite number or a boolean")
      .transform(String)
      .refine((text) => text.isWellFormed(), halved),
    "Must be an object",
  )
  .refine((variables) => Object.keys(variables).length <= maxVariables, `Must be ${maxVariables} keys at most`)
  .meta({
    description: "Fills `{{name}}` in the agent's prompt. Numbers and booleans become strings, null is absent",
    example: { customer_name: "Ana" },
  });

const EndUserId = Text(1, 128)
  .refine((text) => text.isWellFormed(), halved)
  .meta({ description: "For whom the chat is, in your own words", example: "customer-17" });

/** A null counts as absent. Absent and an empty object are the same request. */
export const CreateChatBody = z.object({
  agentId: AgentId,
  agent_version: AgentVersion.nullish().transform((given) => given ?? undefined),
  end_user_id: EndUserId.nullish().transform((given) => given ?? undefined),
  metadata: Metadata.transform((given) => given ?? {}),
  retell_llm_dynamic_variables: z
    .preprocess(givenVariables, DynamicVariables.nullish())
    .transform((given) => given ?? {}),
});

export const SendMessageBody = z.object({
  content: Text(1, 10_000)
    .refine(isVisible, "Must not be blank")
    .refine((text) => text.isWellFormed(), halved)
    .meta({ description: "Sent to the agent as given", example: "Where is my order?" }),
  client_message_id: Text(1, 128)
    .refine((text) => text.isWellFormed(), halved)
    .meta({
      description:
        "Your own id of the message, which comes back with it: match what you show by it. No Idempotency-Key: two messages may have the same",
      example: "local-17",
    })
    .nullish(),
});

const ClientMessageId = z.string().optional().meta({ description: "As the message was sent with it" });

/** A number in a query string. A parameter given twice arrives as `1,2` and is refused. */
export const QueryInteger = (min: number, max: number) =>
  z
    .string()
    .regex(/^-?\d{1,9}$/, "Must be a whole number")
    .transform(Number)
    .pipe(z.number().min(min).max(max))
    .meta({ type: "integer", minimum: min, maximum: max });

export const TranscriptQuery = z
  .object({
    limit: QueryInteger(1, 100_000).optional().meta({ description: "Messages per page; absent: as many as fit" }),
    // Opening messages that were stored later have a seq of 0 or less.
    after_seq: QueryInteger(-999_999_999, 999_999_999)
      .optional()
      .meta({ description: "Only messages after this one, exclusive" }),
    after_revision: RevisionText.optional().meta({
      description: "`meta.revision` of an earlier answer: only messages that are new or changed since",
    }),
    include: z.literal("tools").optional().meta({ description: "Tool calls and their results too; needs write" }),
    consistency: z
      .literal("strong")
      .optional()
      .meta({ description: "An error instead of the stored copy when Retell does not answer" }),
  })
  .refine(({ after_seq, after_revision }) => after_seq === undefined || after_revision === undefined, {
    path: ["after_revision"],
    message: "Must not be combined with after_seq",
  });

export const DeleteQuery = z.object({
  at_retell: z
    .enum(["true", "false"])
    .default("false")
    .transform((given) => given === "true")
    .meta({ description: "Whether Retell's copy is deleted, too", example: "true" }),
});

/**
 * A message as clients see it. `seq` counts what the chat stores, hidden tool calls included, and never changes;
 * `delivery` is absent once the agent has it.
 */
export const Message = z.object({
  message_id: z.string().optional(),
  role: z.string().meta({ description: "`agent` or `user`; others only with `include=tools`" }),
  content: z.string().optional(),
  created_timestamp: Millis.optional(),
  client_message_id: ClientMessageId,
  seq: z.number().int(),
  delivery: z.enum(["pending", "failed"]).optional(),
  truncated: z.literal(true).optional().meta({ description: "The text was too long for the chat and was cut" }),
});
export type Message = z.infer<typeof Message>;

/** A user's message that is stored, whatever became of it. */
export const UserMessage = z.object({
  message_id: z.string(),
  seq: z.number().int(),
  client_message_id: ClientMessageId,
});
export type UserMessage = z.infer<typeof UserMessage>;

/** Only in answers to `after_revision`. */
export const RemovedMessage = z
  .object({ seq: z.number().int(), removed: z.literal(true) })
  .meta({ description: "Only with `after_revision`: a message that is shown no more" });
export type RemovedMessage = z.infer<typeof RemovedMessage>;

const Variables = z.record(z.string(), z.string());
const JsonObject = z.record(z.string(), z.unknown());

export const CreatedChat = z.object({
  chat_id: ChatId,
  agent_id: z.string(),
  chat_status: ChatStatus,
  start_timestamp: Millis,
  retell_llm_dynamic_variables: Variables,
  messages: z.array(Message).meta({ description: "The agent's opening message, if there is one" }),
  retellAccount: z.object({ accountName: z.string(), accountId: z.string() }),
});

export const SentMessage = z.object({
  chat_id: ChatId,
  messages: z.array(Message).meta({ description: "The agent's messages of this turn, in order" }),
  user_message: UserMessage,
  chat_status: ChatStatus,
});

export const EndedChat = z.object({ chat_id: ChatId, chat_status: ChatStatus, end_timestamp: Millis.nullable() });

export const DeletedChat = z.object({ chat_id: ChatId, deleted: z.literal(true) });

const ShownEndUserId = z.string().optional().meta({ description: "As the chat was created with it" });

/** In lists and transcripts a field of an unexpected type is null, since others write into the collection. */
export const ListedChat = z.object({
  chat_id: z.string().nullable(),
  agent_id: z.string().nullable(),
  chat_status: ChatStatus.nullable(),
  start_timestamp: Millis.nullable(),
  end_timestamp: Millis.nullable(),
  message_count: z.number().int().nullable().meta({ description: "Messages of agent and user" }),
  end_user_id: ShownEndUserId,
  createdAt: z.iso.datetime().nullable(),
});

export const PollAfter = z
  .number()
  .int()
  .meta({ description: "Milliseconds after which it makes sense to ask again: fewer while a turn is open" });

export const Transcript = z.object({
  chat_id: ChatId,
  agent_id: z.string().nullable(),
  chat_status: ChatStatus.nullable(),
  start_timestamp: Millis.nullable(),
  end_timestamp: Millis.nullable(),
  transcript: z.string().optional().meta({ description: "Absent when the messages are paged" }),
  messages: z.array(z.union([Message.partial({ seq: true }).loose(), RemovedMessage])),
  message_count: z.number().int(),
  end_user_id: ShownEndUserId,
  metadata: JsonObject,
  retell_llm_dynamic_variables: Variables,
  collected_dynamic_variables: JsonObject,
  chat_cost: JsonObject.nullable().meta({ description: "As Retell gives it, in US cents" }),
  chat_analysis: JsonObject.nullable(),
});
export type Transcript = z.infer<typeof Transcript>;
