import * as z from "zod";
import { MISSING_AGENT } from "./agents.ts";
import { converse, fill, greeting } from "./conversation.ts";
import { list } from "./list.ts";
import { missing, parse, Refusal } from "./refusal.ts";
import { Attributes, type Chat, type Entry, Json, type Profile, Variables } from "./schema.ts";
import { history, show, showEntry, storageOf, variablesOf } from "./view.ts";
import type { World } from "./world.ts";

export const Step = z.enum(["create", "completion", "end", "retrieve", "list", "update", "delete", "rerun"]);
export type Step = z.infer<typeof Step>;

/** A request that has passed the door: whose workspace, about which chat, saying what. */
export type Call = { key: string; chatId: string; body: unknown; replyAfterMs?: number; isStrangers?: boolean };
export type Answer = { status: number; body?: unknown };

const METADATA_BYTES = 51_200; // "50 kB": which kB is not said

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
  data_storage_setting: z.enum(["everything", "basic_attributes_only"]).optional(),
  custom_attributes: Attributes.optional(),
});

const STRICTNESS = { everything: 0, everything_except_pii: 1, basic_attributes_only: 2 };

/** What each call of Retell's chat API does. */
export const steps: Record<Step, (world: World, call: Call) => Answer | Promise<Answer>> = {
  create(world, { key, body, replyAfterMs }) {
    const { agent_id, agent_version, metadata, retell_llm_dynamic_variables } = parse(CreateBody, body);
    if (agent_id.startsWith(MISSING_AGENT)) throw missing();
    const chat = world.add(key, agent_id, {
      version: typeof agent_version === "number" ? agent_version : undefined,
      agent_tag: typeof agent_version === "string" ? agent_version : undefined,
      metadata,
      variables: retell_llm_dynamic_variables,
    });
    world.changed(chat, "chat_started");

    const profile = world.profileOf(chat);
    const opening = openingOf(chat, profile);
    if (opening) void world.speak(chat, opening, "ongoing", replyAfterMs ?? profile.openingDelayMs);

    // The opening here is a live answer, not stored history: an agent that stores nothing gives it just the same.
    const now = world.clock.now();
    const { transcript: _, message_with_tool_calls: __, ...basics } = show(chat, profile, now);
    const words = world.settingsOf(key).openingInCreate ? history(chat, profile, now) : {};
    return { status: 201, body: { ...basics, ...words } };
  },

  completion(world, { key, body, replyAfterMs, isStrangers }) {
    const { chat_id, content } = parse(CompletionBody, body);
    return world.inTurn(world.find(key, chat_id), async () => {
      const chat = world.find(key, chat_id); // it may have gone while this waited for its turn
      const profile = world.profileOf(chat);
      const { completionAfterEnd } = world.settingsOf(key);
      if (chat.status !== "ongoing") throw new Refusal(completionAfterEnd, "Chat is not ongoing");

      const isBlocked = holds(content, profile.guardrail?.input);
      const shownAs = isBlocked ? (profile.guardrail?.placeholder ?? "") : content;
      const [user] = world.append(chat, [{ role: "user", content: shownAs, truth: { said: content, isStrangers } }]);
      const truth = { answers: user?.message_id, isStrangers };
      let calls = 0;
      const reply = isBlocked
        ? { messages: [REFUSES], outcome: "ongoing" as const, place: chat.place, collected: {} }
        : converse(
            {
              content,
              turn: chat.entries.filter(({ role }) => role === "user").length,
              variables: variablesOf(chat) ?? {},
              place: chat.place,
              // A call and its result ask for one id together.
              newId: () => (profile.toolCallIds === "reused" ? `call_${calls++}` : world.newId(chat, "tool_call")),
            },
            profile.script,
          );
      chat.place = reply.place;
      Object.assign(chat.collected, reply.collected);

      const messages = reply.messages.map((message) => ({ ...guarded(message, profile), truth }));
      const spoken = await world.speak(chat, messages, reply.outcome, replyAfterMs ?? profile.replyDelayMs);
      if (!spoken) throw new Refusal(completionAfterEnd, "Chat is not ongoing");
      const shown = spoken.map((entry) => showEntry(entry, chat.entries.indexOf(entry), profile, "reply"));
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

  retrieve(world, { key, chatId }) {
    return { status: 200, body: shown(world, world.find(key, chatId)) };
  },

  list(world, { key, body }) {
    return { status: 200, body: list(world, key, body) };
  },

  update(world, { key, chatId, body }) {
    const chat = world.find(key, chatId);
    const given = parse(UpdateBody, body);
    const { data_storage_setting: storage, override_dynamic_variables: overrides } = given;
    if (storage && STRICTNESS[storage] < STRICTNESS[storageOf(chat, world.profileOf(chat))]) {
      throw new Refusal(400, "data_storage_setting cannot be made less strict");
    }

    if (storage) chat.storage = storage;
    if (given.metadata) chat.metadata = given.metadata;
    if (overrides !== undefined) chat.overrides = overrides === null ? undefined : { ...chat.overrides, ...overrides };
    const known = world.settingsOf(key).customAttributes;
    const attributes = Object.entries(given.custom_attributes ?? {}).filter(([name]) => known.includes(name));
    if (attributes.length > 0)
      chat.custom_attributes = { ...chat.custom_attributes, ...Object.fromEntries(attributes) };
    world.touched(chat);
    return { status: 200, body: shown(world, chat) };
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
    world.touched(chat);
    return { status: 200, body: shown(world, chat) };
  },
};

const REFUSES: Entry = { role: "agent", content: "I am sorry, I cannot talk about that." };

function shown(world: World, chat: Chat) {
  return show(chat, world.profileOf(chat), world.clock.now());
}

function openingOf(chat: Chat, profile: Profile): Entry[] | undefined {
  if (profile.opening === "none" || profile.begin_message === "") return undefined;
  const variables = chat.variables ?? {};
  const content = profile.begin_message === null ? greeting(variables) : fill(profile.begin_message, variables);
  return [guarded({ role: "agent", content }, profile)];
}

function holds(text: string, words: string[] = []): boolean {
  return words.some((word) => text.toLowerCase().includes(word.toLowerCase()));
}

function guarded(message: Entry, { guardrail }: Profile): Entry {
  const isBlocked = message.role === "agent" && holds(message.content ?? "", guardrail?.output);
  return isBlocked ? { ...message, content: guardrail?.placeholder } : message;
}
