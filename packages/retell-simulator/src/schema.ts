import * as z from "zod";
import { ODD_BODIES } from "./odd.ts";
import { isOneDraw } from "./random.ts";

export const ChatStatus = z.enum(["ongoing", "ended", "error"]);
export type ChatStatus = z.infer<typeof ChatStatus>;

export const Variables = z.record(z.string(), z.string());
export type Variables = z.infer<typeof Variables>;

/** A value under a key, as metadata is: anything, as long as it is an object. */
export const Json = z.record(z.string(), z.unknown());

/** One entry of a chat's history. Loose: roles and fields that nobody has heard of are part of what we simulate. */
export const Entry = z.looseObject({
  role: z.string(),
  content: z.string().optional(),
  message_id: z.string().optional(),
  created_timestamp: z.number().optional(),
  /** What the simulator alone knows of it, for programs that check others. The API never shows it. */
  truth: z
    .strictObject({
      /** On a user's entry: the text as it was sent. */
      said: z.string().optional(),
      /** On an entry of a reply: the message_id of the user's entry that it answers. */
      answers: z.string().optional(),
      /** It was put in by the control endpoint, not by a caller of the API. */
      isStrangers: z.boolean().optional(),
    })
    .optional(),
});
export type Entry = z.infer<typeof Entry>;

const Storage = z.enum(["everything", "everything_except_pii", "basic_attributes_only"]);
export type Storage = z.infer<typeof Storage>;

const PiiCategory = z.enum(["email", "phone_number", "credit_card", "ssn"]);
export type PiiCategory = z.infer<typeof PiiCategory>;

const DelayMs = z.number().min(0);

/** Whatever a test or a state file says, nobody outside this machine is ever told of anything. */
const LoopbackUrl = z.url({
  protocol: /^http$/,
  hostname: /^(localhost|127(\.\d+){3}|\[::1\])$/,
  error: "only http URLs on loopback are called",
});

/** How an agent behaves. What a profile does not say is as by default. */
export const Profile = z.strictObject({
  /** A fixed opening text, null = written by the model, "" = the user speaks first. */
  begin_message: z.string().nullable().default(null),
  opening: z.enum(["text", "none"]).default("text"),
  /** The opening message appears in the history that much after the create. */
  openingDelayMs: DelayMs.default(0),
  /** Each reply comes that much after the user's entry. */
  replyDelayMs: DelayMs.default(0),
  /** Who gets message_id and created_timestamp. "sometimes" follows the entry's place; "history": not in the reply. */
  ids: z.enum(["always", "never", "sometimes", "history"]).default("always"),
  storage: Storage.default("everything"),
  scrub: z.array(PiiCategory).default(["email", "phone_number", "credit_card", "ssn"]),
  scrubDelayMs: DelayMs.default(0),
  /** What becomes of a user's text in the history: trimmed, CRLF as LF, Unicode composed (nfc) or decomposed (nfd). */
  userText: z.array(z.enum(["trim", "lf", "nfc", "nfd"])).default([]),
  /** "reused": each turn counts from call_0 on, as some models do. */
  toolCallIds: z.enum(["unique", "reused"]).default("unique"),
  /** null: never. */
  end_chat_after_silence_ms: z.number().positive().nullable().default(3_600_000),
  auto_close_message: z.string().nullable().default(null),
  /** After the end; the chat is gone then. null: kept for good. */
  data_storage_retention_days: z.number().positive().nullable().default(null),
  /** Texts that hold one of the words are replaced. */
  guardrail: z
    .strictObject({
      input: z.array(z.string()).default([]),
      output: z.array(z.string()).default([]),
      placeholder: z.string().default("[blocked by guardrail]"),
    })
    .nullable()
    .default(null),
  /** "unless_inactive": none for a chat that closed by silence. */
  analysis: z.enum(["full", "partial", "unless_inactive", "none"]).default("full"),
  analysisDelayMs: DelayMs.default(4_000),
  /** null: never. */
  costDelayMs: DelayMs.nullable().default(1_500),
  endTimestamp: z.enum(["set", "null", "missing"]).default("set"),
  /** Instead of the workspace's. */
  webhook_url: LoopbackUrl.nullable().default(null),
  /** Replies of your own, tried before the shop's conversation. `{{name}}` in them is filled in. */
  script: z
    .array(z.strictObject({ says: z.string(), messages: z.array(Entry), outcome: ChatStatus.default("ongoing") }))
    .default([]),
});
export type Profile = z.infer<typeof Profile>;

/** What Retell leaves open; per workspace or for all. */
export const Settings = z.strictObject({
  endTwice: z.union([z.literal(204), z.literal(400), z.literal(422)]).default(422),
  completionAfterEnd: z.union([z.literal(400), z.literal(422)]).default(422),
  openingInCreate: z.boolean().default(true),
  /** Two completions at once: one after the other, or each at once. */
  together: z.enum(["queue", "interleave"]).default("queue"),
  /** Ids of the custom attributes "defined in the dashboard". */
  customAttributes: z.array(z.string()).default([]),
});
export type Settings = z.infer<typeof Settings>;

export const Analysis = z.object({
  chat_summary: z.string().optional(),
  chat_successful: z.boolean().optional(),
  user_sentiment: z.string().optional(),
  custom_analysis_data: Json.optional(),
});

export const Cost = z.object({
  combined_cost: z.number(),
  product_costs: z.array(z.object({ product: z.string(), unit_price: z.number(), cost: z.number() })),
});

export const Attributes = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

export const ChatEvent = z.enum(["chat_started", "chat_ended", "chat_analyzed"]);
export type ChatEvent = z.infer<typeof ChatEvent>;

/** What goes wrong on the way to a webhook's receiver. */
export const TROUBLES = ["delay", "duplicate", "swap", "drop"] as const;

const Disorder = z.strictObject({
  seed: z.int(),
  rates: z
    .partialRecord(z.enum(TROUBLES), z.number().min(0).max(1))
    .refine(isOneDraw, "the rates add up to more than 1"),
  /** The longest delay, before a second copy too, and how long a swapped event waits for one to follow. */
  maxMs: z.int().min(1).default(10_000),
});
export type Disorder = z.infer<typeof Disorder>;

/** Whom a workspace tells of its chats' events, and how. */
export const Webhook = z.strictObject({
  url: LoopbackUrl,
  /** The first one signs. Absent: the workspace's key does. */
  signingKeys: z.array(z.string().min(1)).min(1).optional(),
  events: z.array(ChatEvent).default([...ChatEvent.options]),
  /** In real time, whatever the simulator's: no push of the clock makes a receiver late. */
  timeoutMs: z.int().min(1).max(600_000).default(10_000),
  /** After the first attempt. */
  retries: z.int().min(0).default(3),
  retryDelayMs: DelayMs.default(100),
  disorder: Disorder.optional(),
  /** Whoever makes an event happen gets an answer only when the receiver has answered the first attempt. */
  beforeAnswer: z.boolean().default(false),
  /** What is odd about each event's chat. */
  odd: z.array(z.enum(ODD_BODIES)).default([]),
});
export type Webhook = z.infer<typeof Webhook>;

/** A reply that is on its way: the user's entry stands already. */
const Pending = z.object({
  id: z.string(),
  at: z.number(),
  messages: z.array(Entry),
  outcome: ChatStatus,
});
export type Pending = z.infer<typeof Pending>;

/** A chat as the simulator holds it; `show()` makes of it what Retell tells. */
export const Chat = z.object({
  chat_id: z.string(),
  /** The API key it was made with, that is, its workspace. */
  key: z.string(),
  /** Its place in the order of creation. */
  number: z.number(),
  agent_id: z.string(),
  version: z.number(),
  agent_tag: z.string().optional(),
  status: ChatStatus,
  disconnection_reason: z.string().optional(),
  start_timestamp: z.number(),
  end_timestamp: z.number().optional(),
  lastActivity: z.number(),
  metadata: Json.optional(),
  variables: Variables.optional(),
  overrides: Variables.optional(),
  collected: Variables,
  custom_attributes: Attributes.optional(),
  storage: Storage.optional(),
  /** Where in the conversation flow the agent stands. */
  place: z.string(),
  entries: z.array(Entry),
  /** So many entries at its beginning are not shown any more, as after a retention time. */
  forgotten: z.int().min(0).optional(),
  /** How many ids its entries have used. */
  minted: z.number(),
  pending: z.array(Pending),
  analysis: Analysis.optional(),
  reruns: z.number(),
  rerunAt: z.number().optional(),
  cost: Cost.optional(),
  /** False once retention has passed: Retell does not know it any more. */
  retained: z.boolean(),
  events: z.array(z.object({ event: ChatEvent, at: z.number() })),
});
export type Chat = z.infer<typeof Chat>;

/** What the state file holds. */
export const Saved = z.object({
  clockOffsetMs: z.number(),
  created: z.number(),
  chats: z.array(Chat),
  agents: z.record(z.string(), Profile),
  settings: Settings,
  keySettings: z.record(z.string(), Settings.partial()),
  refusedKeys: z.record(z.string(), z.number()),
  webhooks: z.record(z.string(), Webhook).default({}),
});
export type Saved = z.infer<typeof Saved>;
