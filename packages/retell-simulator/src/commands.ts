import * as z from "zod";
import { Chaos, ChaosOptions } from "./chaos.ts";
import { Fault } from "./fault.ts";
import type { Faults } from "./faults.ts";
import { hasFields, type Journal } from "./journal.ts";
import { notFound, parse, Refusal } from "./refusal.ts";
import { Chat, Entry, Profile, Settings, Webhook } from "./schema.ts";
import { type Step, steps } from "./steps.ts";
import type { Webhooks } from "./webhooks.ts";
import { defined, type World } from "./world.ts";

/** A request to the chat API, and its outcome once the connection is closed. */
export type LoggedRequest = {
  method: string;
  path: string;
  step: Step;
  chat_id?: string;
  key?: string;
  at: number;
  body?: unknown;
  /** The kind of the fault that it met. */
  fault?: string;
  status?: number;
  /** The client has disconnected, or was cut off, before the answer was complete. */
  unanswered?: boolean;
};

export type Simulator = { world: World; faults: Faults; requests: Journal<LoggedRequest>; webhooks: Webhooks };

/** `id` is the path after the command's name; `signal` aborts when the client disconnects. */
type Context = Simulator & { id: string; query: URLSearchParams; body: unknown; signal: AbortSignal };
type Command = { does: string; run: (context: Context) => unknown };

const OneOrMoreFaults = z.union([z.array(Fault), Fault.transform((fault) => [fault])]);

const ClockBody = z.strictObject({ advanceMs: z.number().min(0) });

const SettingsBody = Settings.partial().extend({
  /** Default: every workspace. */
  key: z.string().optional(),
  /** The status that a key gets; null accepts the key again. */
  invalidKeys: z.record(z.string(), z.literal([401, 402, 403, 429]).nullable()).default({}),
});

/** Any field of a stored chat may be given or changed. */
const NewChat = Chat.partial().required({ key: true }).strict();

const ChatPatch = Chat.partial()
  .extend({
    status: z.enum(["ended", "error"]).optional(),
    reason: z.string().default("manual_stopped"),
    /** Entries of a stranger (an operator, another client), added to the history. */
    add: z.array(Entry).default([]),
    /** Gives every entry a new message_id. */
    newIds: z.boolean().default(false),
  })
  .strict();

const Message = z.strictObject({ content: z.string().min(1) });

/** The control API, by method and path. `{id}` is one segment. */
export const COMMANDS: Record<string, Command> = {
  "POST /faults": {
    does: "queue one fault or an array of them: {step, kind, chat_id?, key?, count?, effect?, ...}",
    run: ({ faults, body }) => {
      faults.add(parse(OneOrMoreFaults, body));
      return { faults: faults.list() };
    },
  },
  "GET /faults": { does: "the queue", run: ({ faults }) => ({ faults: faults.list() }) },
  "DELETE /faults": {
    does: "clear the queue",
    run: ({ faults }) => {
      faults.clear();
      return { faults: [] };
    },
  },
  "POST /chaos": {
    does: "draw faults by chance: {seed, rates: {kind: probability}, steps?, maxMs?}",
    run: ({ faults, body }) => {
      faults.chaos = new Chaos(parse(ChaosOptions, body));
      return { chaos: faults.chaos.options };
    },
  },
  "DELETE /chaos": {
    does: "stop drawing faults",
    run: ({ faults }) => {
      faults.chaos = undefined;
      return { chaos: null };
    },
  },

  "GET /clock": { does: "the simulator's time", run: ({ world }) => clockOf(world) },
  "POST /clock": {
    does: "advance the clock: {advanceMs}; answers when everything that was due has happened",
    run: async ({ world, body }) => {
      await world.clock.advance(parse(ClockBody, body).advanceMs);
      return clockOf(world);
    },
  },

  "GET /requests": {
    does: "the last 1000 requests: ?step= ?chat_id= ?key= ?unanswered; with ?atLeast=N it waits for so many",
    run: async ({ requests, query, signal }) => {
      const unanswered = query.has("unanswered") || undefined;
      const matches = hasFields<LoggedRequest>({ ...pick(query, "step", "chat_id", "key"), unanswered });
      return { requests: await requests.findAtLeast(Number(query.get("atLeast")), matches, signal) };
    },
  },
  "DELETE /requests": {
    does: "forget them",
    run: ({ requests }) => {
      requests.clear();
      return { requests: [] };
    },
  },

  "GET /chats": {
    does: "all chats as they are stored: ?key=",
    run: ({ world, query }) => ({ chats: [...world.chats.values()].filter(hasFields<Chat>(pick(query, "key"))) }),
  },
  "GET /chats/{id}": { does: "one chat as it is stored", run: (context) => storedChat(context) },
  "POST /chats": {
    does: "add a chat: {key, chat_id?, agent_id?, status?, entries?, start_timestamp?, end_timestamp?, ...}",
    run: ({ world, body }) => {
      const { key, agent_id = "agent_shop", entries = [], status = "ongoing", ...given } = parse(NewChat, body);
      if (given.chat_id !== undefined && world.chats.has(given.chat_id)) {
        throw new Refusal(400, "There is a chat with that chat_id");
      }
      const chat = world.add(key, agent_id, given);
      world.append(chat, entries);
      if (status !== "ongoing") world.end(chat, status, "manual_stopped", given.end_timestamp);
      return chat;
    },
  },
  "POST /chats/{id}": {
    does: "send a message as a stranger: {content}; answers with the reply, after the completions in the queue",
    run: async (context) => {
      const { chat_id, key } = storedChat(context);
      const body = { ...parse(Message, context.body), chat_id };
      return (await steps.completion(context.world, { key, chatId: chat_id, body, isStrangers: true })).body;
    },
  },
  "PATCH /chats/{id}": {
    does: "change: {status?, reason?, add?, newIds?, entries?, retained?, forgotten?, ...}",
    run: (context) => patchChat(context),
  },
  "DELETE /chats": {
    does: "reset everything except the clock: chats, agents, settings, webhooks, faults, chaos, requests",
    run: ({ world, faults, requests, webhooks }) => {
      world.reset();
      webhooks.reset();
      faults.clear();
      faults.chaos = undefined;
      requests.clear();
      return { chats: [] };
    },
  },

  "GET /agents/{id}": { does: "an agent's profile", run: ({ world, id }) => world.profileOf({ agent_id: id }) },
  "PUT /agents/{id}": {
    does: "set an agent's profile; fields that are left out get their defaults",
    run: ({ world, id, body }) => {
      const profile = parse(Profile, body ?? {});
      world.agents.set(id, profile);
      for (const chat of world.chats.values()) if (chat.agent_id === id) world.reschedule(chat);
      return profile;
    },
  },

  "PUT /webhooks/{id}": {
    does: "send a key's events to a URL: {url, signingKeys?, events?, timeoutMs?, retries?, retryDelayMs?, ...}",
    run: ({ world, id, body }) => {
      const webhook = { signingKeys: [id], ...parse(Webhook, body) };
      world.webhooks.set(id, webhook);
      return webhook;
    },
  },
  "DELETE /webhooks/{id}": {
    does: "send a key's events nowhere, and give up retries",
    run: ({ world, id }) => {
      world.webhooks.delete(id);
      return { webhooks: Object.fromEntries(world.webhooks) };
    },
  },
  "GET /webhooks": { does: "by key", run: ({ world }) => ({ webhooks: Object.fromEntries(world.webhooks) }) },
  "GET /deliveries": {
    does: "the last 1000 attempts that are over: ?key= ?chat_id= ?event= ?atLeast=N as for requests",
    run: async ({ webhooks, query, signal }) => {
      const wanted = pick(query, "key", "chat_id", "event");
      return { deliveries: await webhooks.findAtLeast(Number(query.get("atLeast")), wanted, signal) };
    },
  },

  "PATCH /settings": {
    does: "{key?, endTwice?, completionAfterEnd?, openingInCreate?, together?, customAttributes?, invalidKeys?}",
    run: ({ world, body }) => {
      const { key, invalidKeys, ...given } = parse(SettingsBody, body);
      const settings = defined(given);
      if (key === undefined) world.settings = { ...world.settings, ...settings };
      else world.keySettings.set(key, { ...world.keySettings.get(key), ...settings });
      for (const [name, status] of Object.entries(invalidKeys)) {
        if (status === null) world.refusedKeys.delete(name);
        else world.refusedKeys.set(name, status);
      }
      const current = key === undefined ? world.settings : world.settingsOf(key);
      return { ...current, invalidKeys: Object.fromEntries(world.refusedKeys) };
    },
  },
};

function storedChat({ world, id }: Context): Chat {
  const chat = world.chats.get(id);
  if (!chat) throw notFound();
  return chat;
}

function patchChat(context: Context): Chat {
  const { world, body } = context;
  const chat = storedChat(context);
  const { status, reason, entries, add, newIds, ...fields } = parse(ChatPatch, body);
  Object.assign(chat, defined(fields));
  if (entries) {
    chat.entries = [];
    world.append(chat, entries);
  }
  if (add.length > 0) {
    const added = add.map((entry) => ({ ...entry, truth: { said: entry.content, isStrangers: true } }));
    world.append(chat, added);
  }
  if (newIds) chat.entries = chat.entries.map((entry) => ({ ...entry, message_id: world.newId(chat, "message") }));
  if (status) world.end(chat, status, reason);
  world.reschedule(chat);
  return chat;
}

function clockOf({ clock }: World) {
  return { now: clock.now(), offsetMs: clock.offsetMs };
}

function pick<Name extends string>(query: URLSearchParams, ...names: Name[]) {
  return Object.fromEntries(names.map((name) => [name, query.get(name)])) as Record<Name, string | null>;
}
