import * as z from "zod";
import { MISSING_AGENT } from "./agents.ts";
import { converse, fill, greeting, type Reply } from "./conversation.ts";
import { list } from "./list.ts";
import { notFound, parse, Refusal } from "./refusal.ts";
import { Attributes, type Chat, type Entry, Json, type Profile, Storage, Variables } from "./schema.ts";
import { history, show, showEntry, storageOf, variablesOf } from "./view.ts";
import type { World } from "./world.ts";

/** The operations of Retell's chat API. */
export const Step = z.enum(["create", "completion", "end", "retrieve", "list", "update", "delete", "rerun"]);
export type Step = z.infer<typeof Step>;

/** An authenticated request. `replyAfterMs` is a fault's delay of the reply. */
export type Call = { key: string; chatId: string; body: unknown; replyAfterMs?: number; isStrangers?: boolean };
export type Answer = { status: number; body?: unknown };

const METADATA_BYTES = 51_200; // Retell says 50 kB, and not which kB

const Metadata = Json.refine((metadata) => Buffer.byteLength(JSON.stringify(metadata)) <= METADATA_BYTES, {
  error: "metadata is limited to 50kB",
});

const CreateBody = z.object({
  agent_id: z.string().min(1),
  agent_version: z.union([z.int().min(0), z.string().regex(/^[a-z0-9_-]{1,20}$/)]).optional(),
  metadata: Metadata.optional(),
  retell_llm_dynamic_variables: Variables.optional(),
});

const CompletionBody = z.object({ chat_id: z.string().min(1), content: z.string().min(1) });

const UpdateBody = z.object({
  metadata: Metadata.optional(),
  override_dynamic_variables: Variables.nullable().optional(),
  data_storage_setting: Storage.optional(),
  custom_attributes: Attributes.optional(),
});

const BLOCKED: Entry = { role: "agent", content: "I am sorry, I cannot talk about that." };

export const steps: Record<Step, (world: World, call: Call) => Answer | Promise<Answer>> = {
  create(world, { key, body, replyAfterMs }) {
    const { agent_id, agent_version, metadata, retell_llm_dynamic_variables } = parse(CreateBody, body);
    if (agent_id.startsWith(MISSING_AGENT)) throw notFound();
    const chat = world.add(key, agent_id, {
      ...(typeof agent_version === "number" ? { version: agent_version } : { agent_tag: agent_version }),
      metadata,
      variables: retell_llm_dynamic_variables,
    });
    world.emit(chat, "chat_started");

    const profile = world.profileOf(chat);
    const opening = openingOf(chat, profile);
    if (opening) void world.reply(chat, [opening], "ongoing", replyAfterMs ?? profile.openingDelayMs);

    // Also for an agent that stores no messages: the response is not read from storage.
    const { transcript: _, message_with_tool_calls: __, ...basics } = show(chat, profile);
    const messages = world.settingsOf(key).openingInCreate ? history(chat, profile) : {};
    return { status: 201, body: { ...basics, ...messages } };
  },

  completion(world, { key, body, replyAfterMs, isStrangers }) {
    const { chat_id, content } = parse(CompletionBody, body);
    return world.inQueue(world.find(key, chat_id), async () => {
      const chat = world.find(key, chat_id); // it may have been deleted while this request was in the queue
      const refusal = new Refusal(world.settingsOf(key).completionAfterEnd, "Chat is not ongoing");
      if (chat.status !== "ongoing") throw refusal;

      const profile = world.profileOf(chat);
      const { messages, outcome = "ongoing" } = takeTurn(world, chat, profile, content, isStrangers);
      const reply = await world.reply(chat, messages, outcome, replyAfterMs ?? profile.replyDelayMs);
      if (!reply) throw refusal;
      const shown = reply.map((entry) => showEntry(entry, chat.entries.indexOf(entry), profile, "reply"));
      return { status: 201, body: { messages: shown } };
    });
  },

  end(world, { key, chatId }) {
    const chat = world.find(key, chatId);
    const { endTwice } = world.settingsOf(key);
    if (chat.status !== "ongoing" && endTwice !== 204) throw new Refusal(endTwice, "Chat has already ended");
    world.end(chat, "ended", "manual_stopped");
    return { status: 204 };
  },

  retrieve: (world, { key, chatId }) => shown(world, world.find(key, chatId)),

  list: (world, { key, body }) => ({ status: 200, body: list(world, key, body) }),

  update(world, { key, chatId, body }) {
    const chat = world.find(key, chatId);
    const given = parse(UpdateBody, body);
    const { data_storage_setting: storage, override_dynamic_variables: overrides } = given;
    if (storage === "everything" && storageOf(chat, world.profileOf(chat)) !== storage) {
      throw new Refusal(400, "data_storage_setting cannot be made less strict");
    }

    if (storage) chat.storage = storage;
    if (given.metadata) chat.metadata = given.metadata;
    if (overrides !== undefined) chat.overrides = overrides === null ? undefined : { ...chat.overrides, ...overrides };
    const known = world.settingsOf(key).customAttributes;
    const attributes = Object.entries(given.custom_attributes ?? {}).filter(([name]) => known.includes(name));
    if (attributes.length > 0) {
      chat.custom_attributes = { ...chat.custom_attributes, ...Object.fromEntries(attributes) };
    }
    world.reschedule(chat);
    return shown(world, chat);
  },

  delete(world, { key, chatId }) {
    world.remove(world.find(key, chatId));
    return { status: 204 };
  },

  rerun(world, { key, chatId }) {
    const chat = world.find(key, chatId);
    if (chat.status === "ongoing") throw new Refusal(400, "Chat is still ongoing");
    chat.reruns++;
    chat.rerunAt = world.clock.now();
    world.reschedule(chat);
    return shown(world, chat);
  },
};

/** Stores the user's entry and what the turn changes in the chat. Returns the reply, which is not stored yet. */
function takeTurn(world: World, chat: Chat, profile: Profile, content: string, isStrangers?: boolean): Reply {
  const { guardrail, toolCallIds, script } = profile;
  const isBlocked = contains(content, guardrail?.input);
  const stored = isBlocked ? (guardrail?.placeholder ?? "") : content;
  const [user] = world.append(chat, [{ role: "user", content: stored, truth: { said: content, isStrangers } }]);

  let calls = 0;
  const turn = {
    content,
    number: chat.entries.filter(({ role }) => role === "user").length,
    variables: variablesOf(chat) ?? {},
    node: chat.node ?? "support",
    newId: () => (toolCallIds === "reused" ? `call_${calls++}` : world.newId(chat, "tool_call")),
  };
  const { messages, outcome, node, collected }: Reply = isBlocked ? { messages: [BLOCKED] } : converse(turn, script);
  chat.node = node ?? chat.node;
  Object.assign(chat.collected, collected);
  const truth = { answers: user?.message_id, isStrangers };
  return { messages: messages.map((message) => ({ ...guard(message, profile), truth })), outcome };
}

function shown(world: World, chat: Chat): Answer {
  return { status: 200, body: show(chat, world.profileOf(chat)) };
}

function openingOf({ variables = {} }: Chat, profile: Profile): Entry | undefined {
  const { opening, begin_message } = profile;
  if (opening === "none" || begin_message === "") return undefined;
  const content = begin_message === null ? greeting(variables) : fill(begin_message, variables);
  return guard({ role: "agent", content }, profile);
}

function contains(text: string, words: string[] = []): boolean {
  return words.some((word) => text.toLowerCase().includes(word.toLowerCase()));
}

function guard(message: Entry, { guardrail }: Profile): Entry {
  const isBlocked = message.role === "agent" && contains(message.content ?? "", guardrail?.output);
  return isBlocked ? { ...message, content: guardrail?.placeholder } : message;
}
