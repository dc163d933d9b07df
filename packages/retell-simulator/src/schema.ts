import * as z from "zod";
import { ODD_BODIES } from "./odd.ts";
import { isOneDraw } from "./random.ts";

export const ChatStatus = z.enum(["ongoing", "ended", "error"]);
export type ChatStatus = z.infer<typeof ChatStatus>;

/** Dynamic variables; Retell accepts strings only. */
export const Variables = z.record(z.string(), z.string());
export type Variables = z.infer<typeof Variables>;

export const Json = z.record(z.string(), z.unknown());

/** An entry of a chat's history. Loose, because unknown roles and fields are part of what is simulated. */
export const Entry = z.looseObject({
  role: z.string(),
  content: z.string().optional(),
  message_id: z.string().optional(),
  created_timestamp: z.number().optional(),
  /** For programs that check a client of the simulator. The API never shows it. */
  truth: z
    .strictObject({
      /** On a user's entry: the text as it was sent. */
      said: z.string().optional(),
      /** On an entry of a reply: the message_id of the user's entry that it answers. */
      answers: z.string().optional(),
      /** The control API added it, not a client of the chat API. */
      isStrangers: z.boolean().optional(),
    })
    .optional(),
});
export type Entry = z.infer<typeof Entry>;

export const Storage = z.enum(["everything", "basic_attributes_only"]);

const DelayMs = z.number().min(0);

/** Webhooks go to this machine only, whatever a test or a state file says. */
const LoopbackUrl = z.url({
  protocol: /^http$/,
  hostname: /^(localhost|127(\.\d+){3}|\[::1\])$/,
  error: "only http URLs on loopback are called",
});

/** How an agent behaves. */
export const Profile = z.strictObject({
  /** The first message: a fixed text; null: written by the model; "": the user speaks first. */
  begin_message: z.string().nullable().default(null),
  opening: z.enum(["text", "none"]).default("text"),
  /** From the create to the opening message in the history. */
  openingDelayMs: DelayMs.default(0),
  /** From the user's entry to the reply. */
  replyDelayMs: DelayMs.default(0),
  /**
   * Which entries have message_id and created_timestamp. "sometimes": depends on the position in the history;
   * "history": those of a get-chat, not those of a completion.
   */
  ids: z.enum(["always", "never", "sometimes", "history"]).default("always"),
  storage: Storage.default("everything"),
  /** How the history changes a user's text: trims it, turns CRLF into LF, composes (nfc) or decomposes (nfd) it. */
  userText: z.array(z.enum(["trim", "lf", "nfc", "nfd"])).default([]),
  /** "reused": the ids of tool calls start at call_0 in each turn, as with some models. */
  toolCallIds: z.enum(["unique", "reused"]).default("unique"),
  /** null: never. */
  end_chat_after_silence_ms: z.number().positive().nullable().default(3_600_000),
  auto_close_message: z.string().nullable().default(null),
  /** After the end, when Retell deletes the chat; null: never. */
  data_storage_retention_days: z.number().positive().nullable().default(null),
  /** A text that contains one of the words is replaced by the placeholder. */
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
  /** Replaces the workspace's. */
  webhook_url: LoopbackUrl.nullable().default(null),
  /** Replies to texts that contain `says`, tried before the built-in conversation. `{{name}}` is a dynamic variable. */
  script: z
    .array(z.strictObject({ says: z.string(), messages: z.array(Entry), outcome: ChatStatus.default("ongoing") }))
    .default([]),
});
export type Profile = z.infer<typeof Profile>;

/** Behaviour that Retell does not document; for one workspace or for all. */
export const Settings = z.strictObject({
  /** The status of a second end. */
  endTwice: z.literal([204, 400, 422]),
  completionAfterEnd: z.literal([400, 422]),
  /** Whether the response to a create has the opening message. */
  openingInCreate: z.boolean(),
  /** Two completions of one chat at the same time: one after the other, or both at once. */
  together: z.enum(["queue", "interleave"]),
  /** The custom attributes that the dashboard defines. */
  customAttributes: z.array(z.string()),
});
export type Settings = z.infer<typeof Settings>;

/** Not in the schema, or `Settings.partial()` would fill in what a change leaves out. */
export const DEFAULT_SETTINGS: Settings = {
  endTwice: 422,
  completionAfterEnd: 422,
  openingInCreate: true,
  together: "queue",
  customAttributes: [],
};

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

/** What can happen to a webhook. `swap`: the next event of the chat is sent first. */
export const DISORDERS = ["delay", "duplicate", "swap", "drop"] as const;

const Disorder = z.strictObject({
  seed: z.int(),
  rates: z
    .partialRecord(z.enum(DISORDERS), z.number().min(0).max(1))
    .refine(isOneDraw, "the rates add up to more than 1"),
  /** The longest delay, also of a duplicate, and the longest wait for the event that a swap sends first. */
  maxMs: z.int().min(1).default(10_000),
});
export type Disorder = z.infer<typeof Disorder>;

/** Where a workspace's events are sent, and how. */
export const Webhook = z.strictObject({
  url: LoopbackUrl,
  /** The first one signs. Default: the workspace's key. */
  signingKeys: z.array(z.string().min(1)).min(1).optional(),
  events: z.array(ChatEvent).default([...ChatEvent.options]),
  /** In real time: advancing the simulator's clock does not make a receiver late. */
  timeoutMs: z.int().min(1).max(600_000).default(10_000),
  /** After the first attempt. */
  retries: z.int().min(0).default(3),
  retryDelayMs: DelayMs.default(100),
  disorder: Disorder.optional(),
  /** Answer the request that causes an event only after the receiver has answered the first attempt. */
  beforeAnswer: z.boolean().default(false),
  /** Oddities of each event's chat, as in the fault `garbage`. */
  odd: z.array(z.enum(ODD_BODIES)).default([]),
});
export type Webhook = z.infer<typeof Webhook>;

/** A chat as the simulator stores it; view.ts makes the API's representation of it. */
export const Chat = z.object({
  chat_id: z.string(),
  /** The API key that created it, which stands for the workspace. */
  key: z.string(),
  /** Chats are numbered in the order of creation. */
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
  /** The current node of the agent's conversation flow, if it is not "support". */
  node: z.string().optional(),
  entries: z.array(Entry),
  /** How many entries at the beginning are not shown any more. */
  forgotten: z.int().min(0).optional(),
  /** How many ids were made for its entries. */
  minted: z.number(),
  /** Replies that will come later. */
  pending: z.array(z.object({ id: z.string(), at: z.number(), messages: z.array(Entry), outcome: ChatStatus })),
  analysis: Analysis.optional(),
  reruns: z.number(),
  rerunAt: z.number().optional(),
  cost: Cost.optional(),
  /** False after the retention time: the API does not find it any more. */
  retained: z.boolean(),
  events: z.array(z.object({ event: ChatEvent, at: z.number() })),
});
export type Chat = z.infer<typeof Chat>;

/** The content of the state file. */
export const Saved = z.object({
  clockOffsetMs: z.number(),
  created: z.number(),
  chats: z.array(Chat),
  /** An earlier version may have saved settings that are gone. */
  agents: z.record(z.string(), Profile.strip()),
  settings: Settings,
  keySettings: z.record(z.string(), Settings.partial()),
  refusedKeys: z.record(z.string(), z.number()),
  webhooks: z.record(z.string(), Webhook).default({}),
});
export type Saved = z.infer<typeof Saved>;
