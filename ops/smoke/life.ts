import type { Answer, Api } from "./api.ts";
import { answered, type Check, refused, same, Wrong } from "./expect.ts";

const content = "Hello! This is a test of the connection.";

const keyed = (key: string) => ({ headers: { "idempotency-key": key } });

/** The checks of one whole chat, from create to end. Each check continues from what the earlier ones have done. */
export function aLife(): { checks: Check[]; leave(api: Api): Promise<void> } {
  const chat = new Chat();
  return {
    checks: [...creating(chat), ...talking(chat), ...ending(chat)],
    /** Ends the chat, if it is still open. */
    async leave(api) {
      if (chat.created && !chat.ended) await api.post(chat.path("end"), undefined, { isLast: true }).catch(() => {});
    },
  };
}

/** The chat that the checks share, and the first answer to each of its steps. */
class Chat {
  created: Answer | undefined;
  sent: Answer | undefined;
  ended: Answer | undefined;
  readonly #keys = { create: crypto.randomUUID(), message: crypto.randomUUID() };

  get id(): string {
    return String(this.created?.body.data.chat_id);
  }

  path(endpoint: string): string {
    return `${this.id}/${endpoint}`;
  }

  create(api: Api, metadata = {}): Promise<Answer> {
    return api.post("create", { agentId: api.agentId, metadata }, keyed(this.#keys.create));
  }

  send(api: Api): Promise<Answer> {
    return api.post(this.path("message"), { content }, keyed(this.#keys.message));
  }
}

const creating = (chat: Chat): Check[] => [
  answered(
    "create",
    ["the token"],
    (api) => chat.create(api),
    (answer) => {
      chat.created = answer;
      return chat.id;
    },
  ),
  answered(
    "create, repeated",
    ["create"],
    (api) => chat.create(api),
    ({ body, headers }) => {
      same("the chat", body.data.chat_id, chat.id);
      same("idempotent-replayed", headers.get("idempotent-replayed"), "true");
    },
  ),
  refused(
    "create, same key, another body",
    ["create"],
    (api) => chat.create(api, { a: 1 }),
    422,
    "IDEMPOTENCY_KEY_REUSED",
  ),
];

const talking = (chat: Chat): Check[] => [
  answered(
    "message",
    ["create"],
    (api) => chat.send(api),
    (answer) => {
      chat.sent = answer;
      return `${answer.body.data.messages.length} messages`;
    },
  ),
  answered(
    "message, repeated",
    ["message"],
    (api) => chat.send(api),
    ({ body, headers }) => {
      same("data", body.data, chat.sent?.body.data);
      same("idempotent-replayed", headers.get("idempotent-replayed"), "true");
    },
  ),
  answered(
    "transcript",
    ["message"],
    (api) => api.get(chat.path("transcript?consistency=strong")),
    ({ body }) => {
      const messages: { role: string; content: string }[] = body.data.messages;
      const said = messages.filter(({ role }) => role === "user").map((message) => message.content);
      same("what the user said", said, [content]);
      return `${messages.length} messages`;
    },
  ),
  answered(
    "list, with the chat",
    ["create"],
    (api) => api.get("list"),
    ({ body }) => {
      const listed = body.data.map((one: { chat_id: string }) => one.chat_id);
      if (!listed.includes(chat.id)) throw new Wrong("the chat is not in the list");
    },
  ),
];

const ending = (chat: Chat): Check[] => [
  answered(
    "end",
    ["create"],
    (api) => api.post(chat.path("end")),
    (answer) => {
      same("chat_status", answer.body.data.chat_status, "ended");
      chat.ended = answer;
    },
  ),
  answered(
    "end, repeated",
    ["end"],
    (api) => api.post(chat.path("end")),
    ({ body }) => same("data", body.data, chat.ended?.body.data),
  ),
  refused(
    "message, to the ended chat",
    ["end"],
    (api) => api.post(chat.path("message"), { content }),
    409,
    "CHAT_ENDED",
  ),
  answered(
    "transcript, from the cache",
    ["end"],
    async (api) => {
      await api.get(chat.path("transcript"));
      return api.get(chat.path("transcript"));
    },
    ({ body }) => same("meta.cached", body.meta.cached, true),
  ),
];
