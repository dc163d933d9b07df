import * as z from "zod";
import { Chaos, Fault } from "./faults.ts";
import { ODD_BODIES, ODD_ENCODINGS } from "./odd.ts";
import { missing, parse, Refusal } from "./refusal.ts";
import { Chat, ChatEvent, ChatStatus, Entry, Json, Profile, Settings, Variables, Webhook } from "./schema.ts";
import type { Simulator } from "./server.ts";
import { type Answer, steps } from "./steps.ts";
import { defined } from "./world.ts";

export const CONTROL = "/_control";

/** `path` is what follows `/_control`, decoded, by segments. */
type Call = { method: string; path: string[]; query: URLSearchParams; body: unknown };
type Asked = Simulator & { id: string; query: URLSearchParams; body: unknown; gone: AbortSignal };
type Command = { does: string; run: (asked: Asked) => unknown };

const Clock = z.strictObject({ advanceMs: z.number().min(0) });

const SettingsPatch = Settings.partial().extend({
  /** Absent: for every workspace. */
  key: z.string().optional(),
  /** Key -> status that each of its requests gets; null makes the key good again. */
  invalidKeys: z
    .record(z.string(), z.union([z.literal(401), z.literal(402), z.literal(403), z.literal(429)]).nullable())
    .optional(),
});

const GivenChat = z.strictObject({
  chat_id: z.string().min(1).optional(),
  key: z.string().min(1),
  agent_id: z.string().min(1).default("agent_shop"),
  version: z.int().min(0).default(1),
  status: ChatStatus.default("ongoing"),
  start_timestamp: z.number().optional(),
  end_timestamp: z.number().optional(),
  metadata: Json.optional(),
  variables: Variables.optional(),
  entries: z.array(Entry).default([]),
});

const ChatPatch = z.strictObject({
  status: z.enum(["ended", "error"]).optional(),
  reason: z.string().default("manual_stopped"),
  /** false: as after the retention time, to Retell the chat has never been. */
  retained: z.boolean().optional(),
  /** Instead of the whole history. */
  entries: z.array(Entry).optional(),
  /** After the history: what an operator or another client has put in. */
  add: z.array(Entry).default([]),
  /** So many entries at the beginning of the history are not shown any more. */
  forgotten: Chat.shape.forgotten,
  /** Every entry gets another message_id. */
  newIds: z.boolean().default(false),
  storage: Chat.shape.storage,
  metadata: Json.optional(),
  variables: Variables.optional(),
});

const Said = z.strictObject({ content: z.string().min(1) });

const ageMs = z.int().optional();
const Replay = z.union([
  z.strictObject({ id: z.string(), ageMs }),
  z.strictObject({ chat_id: z.string(), event: ChatEvent, ageMs }),
]);

/** Method and path -> what it does; `{id}` is one segment. */
const COMMANDS: Record<string, Command> = {
  "GET ": { does: "this list", run: () => help() },

  "POST /faults": {
    does: "queue faults: one or an array of {step, kind, chat_id?, key?, count?, effect?, ...}",
    run: ({ faults, body }) => {
      faults.add(parse(z.union([z.array(Fault), Fault.transform((fault) => [fault])]), body));
      return { faults: faults.list() };
    },
  },
  "GET /faults": { does: "the faults still to come", run: ({ faults }) => ({ faults: faults.list() }) },
  "DELETE /faults": {
    does: "forget them",
    run: ({ faults }) => {
      faults.clear();
      return { faults: [] };
    },
  },

  "POST /chaos": {
    does: "draw faults from a seed: {seed, rates: {kind: probability}, steps?, maxMs?}",
    run: ({ faults, body }) => {
      faults.chaos = parse(Chaos, body);
      return { chaos: faults.chaos };
    },
  },
  "GET /chaos": { does: "what is drawn from", run: ({ faults }) => ({ chaos: faults.chaos ?? null }) },
  "DELETE /chaos": {
    does: "draw no more",
    run: ({ faults }) => {
      faults.chaos = undefined;
      return { chaos: null };
    },
  },

  "GET /clock": { does: "the simulator's time", run: ({ world }) => clockOf(world) },
  "POST /clock": {
    does: "move it forward: {advanceMs}; answers when all that was due has happened",
    run: async ({ world, body }) => {
      await world.clock.advance(parse(Clock, body).advanceMs);
      world.onChange();
      return clockOf(world);
    },
  },

  "GET /stats": { does: "how many requests there were, by step", run: ({ log }) => log.stats() },
  "POST /stats/reset": {
    does: "count from zero, forget the requests",
    run: ({ log }) => {
      log.reset();
      return log.stats();
    },
  },
  "GET /requests": {
    does: "the last 1000 requests, ?step= ?chat_id= ?key= ?unanswered; with ?atLeast=N it answers once there are so many",
    run: async ({ log, query, gone }) => {
      const wanted = {
        step: query.get("step") ?? undefined,
        chat_id: query.get("chat_id") ?? undefined,
        key: query.get("key") ?? undefined,
        unanswered: query.has("unanswered") || undefined,
      };
      return { requests: await log.findAtLeast(Number(query.get("atLeast") ?? 0), wanted, gone) };
    },
  },

  "GET /chats": {
    does: "all chats as they are held, ?key=",
    run: ({ world, query }) => {
      const key = query.get("key");
      return { chats: [...world.chats.values()].filter((chat) => key === null || chat.key === key) };
    },
  },
  "GET /chats/{id}": { does: "one of them", run: (asked) => held(asked) },
  "POST /chats": {
    does: "put in a chat: {key, chat_id?, agent_id?, status?, entries?, start_timestamp?, end_timestamp?, ...}",
    run: ({ world, body }) => {
      const { key, agent_id, entries, status, ...given } = parse(GivenChat, body);
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
    does: "a stranger says something in it: {content}; answers with the reply, once no other completion is before it",
    run: async (asked) => {
      const { chat_id: chatId, key } = held(asked);
      const said = { key, chatId, body: { ...parse(Said, asked.body), chat_id: chatId }, isStrangers: true };
      return (await steps.completion(asked.world, said)).body;
    },
  },
  "PATCH /chats/{id}": {
    does: "force something: {status?, reason?, retained?, entries?, add?, forgotten?, newIds?, storage?, metadata?, variables?}",
    run: (asked) => patch(asked),
  },
  "DELETE /chats": {
    does: "reset all: chats, agents, settings, webhooks, faults, chaos, stats (not the clock)",
    run: ({ world, faults, log, webhooks }) => {
      world.reset();
      webhooks.reset();
      faults.clear();
      faults.chaos = undefined;
      log.reset();
      return { chats: [] };
    },
  },

  "GET /agents": {
    does: "the profiles that were given",
    run: ({ world }) => ({ agents: Object.fromEntries(world.agents) }),
  },
  "GET /agents/{id}": { does: "how one behaves", run: ({ world, id }) => world.profileOf({ agent_id: id }) },
  "PUT /agents/{id}": {
    does: "make an agent behave: a profile; what it leaves out is as by default",
    run: ({ world, id, body }) => {
      const profile = parse(Profile, body ?? {});
      world.agents.set(id, profile);
      for (const chat of world.chats.values()) if (chat.agent_id === id) world.touched(chat);
      world.onChange();
      return profile;
    },
  },

  "PUT /webhooks/{id}": {
    does: "tell somebody of a key's events: {url, signingKeys?, events?, timeoutMs?, retries?, retryDelayMs?, ...}",
    run: ({ world, id, body }) => {
      const webhook = { signingKeys: [id], ...parse(Webhook, body) };
      world.webhooks.set(id, webhook);
      world.onChange();
      return webhook;
    },
  },
  "DELETE /webhooks/{id}": {
    does: "tell nobody any more, not even what was to be tried again",
    run: ({ world, id }) => {
      world.webhooks.delete(id);
      world.onChange();
      return { webhooks: Object.fromEntries(world.webhooks) };
    },
  },
  "GET /webhooks": {
    does: "who is told, by key",
    run: ({ world }) => ({ webhooks: Object.fromEntries(world.webhooks) }),
  },
  "GET /deliveries": {
    does: "the last 1000 attempts that are over, ?key= ?chat_id= ?event= ?atLeast=N as for requests",
    run: async ({ webhooks, query, gone }) => {
      const wanted = {
        key: query.get("key") ?? undefined,
        chat_id: query.get("chat_id") ?? undefined,
        event: query.get("event") ?? undefined,
      };
      return { deliveries: await webhooks.findAtLeast(Number(query.get("atLeast") ?? 0), wanted, gone) };
    },
  },
  "POST /deliveries/replay": {
    does: "send one again: {id} or {chat_id, event}; byte for byte, or signed anew as of ageMs ago",
    run: ({ webhooks, body }) => webhooks.replay(parse(Replay, body)),
  },

  "GET /settings": {
    does: "what Retell leaves open, ?key=",
    run: ({ world, query }) => settingsOf(world, query.get("key") ?? undefined),
  },
  "PATCH /settings": {
    does: "{key?, endTwice?, completionAfterEnd?, openingInCreate?, together?, customAttributes?, invalidKeys?}",
    run: ({ world, body }) => {
      const { key, invalidKeys = {}, ...given } = parse(SettingsPatch, body);
      const settings = defined(given);
      if (key === undefined) world.settings = { ...world.settings, ...settings };
      else world.keySettings.set(key, { ...world.keySettings.get(key), ...settings });
      for (const [name, status] of Object.entries(invalidKeys)) {
        if (status === null) world.refusedKeys.delete(name);
        else world.refusedKeys.set(name, status);
      }
      world.onChange();
      return settingsOf(world, key);
    },
  },
};

/** Answers a request to the control endpoint. @throws 404 when it knows no such command, 400 for a wrong body. */
export async function control(simulator: Simulator, call: Call, gone: AbortSignal): Promise<Answer> {
  const [group = "", ...rest] = call.path;
  const id = rest.join("/");
  const command =
    COMMANDS[`${call.method} ${group && `/${call.path.join("/")}`}`] ??
    (id ? COMMANDS[`${call.method} /${group}/{id}`] : undefined);
  if (!command) throw new Refusal(404, `No such command: GET ${CONTROL} lists them`);
  const asked = { ...simulator, id, query: call.query, body: call.body, gone };
  return { status: 200, body: await command.run(asked) };
}

function help() {
  const commands = Object.entries(COMMANDS).map(([name, { does }]) => [name.replace(" ", ` ${CONTROL}`), does]);
  const faultKinds = Fault.options.map((kind) => kind.shape.kind.value);
  return { commands: Object.fromEntries(commands), faultKinds, odd: [...ODD_BODIES, ...ODD_ENCODINGS] };
}

function held({ world, id }: Asked): Chat {
  const chat = world.chats.get(id);
  if (!chat) throw missing();
  return chat;
}

function patch(asked: Asked): Chat {
  const { world, body } = asked;
  const chat = held(asked);
  const { status, reason, entries, add, newIds, ...plain } = parse(ChatPatch, body);
  Object.assign(chat, defined(plain));
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
  world.touched(chat);
  return chat;
}

function clockOf(world: Simulator["world"]) {
  return { now: world.clock.now(), offsetMs: world.clock.offsetMs };
}

function settingsOf(world: Simulator["world"], key: string | undefined) {
  const settings = key === undefined ? world.settings : world.settingsOf(key);
  return { ...settings, invalidKeys: Object.fromEntries(world.refusedKeys) };
}
