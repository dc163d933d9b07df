import type { Answer, Api } from "./api.ts";
import { type Check, expectAnswer, refused, same, Wrong } from "./expect.ts";

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
  {
    name: "create",
    needs: ["the token"],
    async run(api) {
      const answer = await chat.create(api);
      expectAnswer(answer, 200);
      chat.created = answer;
      return chat.id;
    },
  },
  {
    name: "create, repeated",
    needs: ["create"],
    async run(api) {
      const answer = await chat.create(api);
      expectAnswer(answer, 200);
      same("the chat", answer.body.data.chat_id, chat.id);
      same("idempotent-replayed", answer.headers.get("idempotent-replayed"), "true");
      return undefined;
    },
  },
  refused(
    "create, same key, another body",
    ["create"],
    (api) => chat.create(api, { a: 1 }),
    422,
    "IDEMPOTENCY_KEY_REUSED",
  ),
];

const talking = (chat: Chat): Check[] => [
  {
    name: "message",
    needs: ["create"],
    async run(api) {
      const answer = await chat.send(api);
      expectAnswer(answer, 200);
      chat.sent = answer;
      return `${answer.body.data.messages.length} messages`;
    },
  },
  {
    name: "message, repeated",
    needs: ["message"],
    async run(api) {
      const answer = await chat.send(api);
      expectAnswer(answer, 200);
      same("data", answer.body.data, chat.sent?.body.data);
      same("idempotent-replayed", answer.headers.get("idempotent-replayed"), "true");
      return undefined;
    },
  },
  {
    name: "transcript",
    needs: ["message"],
    async run(api) {
      const answer = await api.get(chat.path("transcript?consistency=strong"));
      expectAnswer(answer, 200);
      const said = answer.body.data.messages.filter((message: { role: string }) => message.role === "user");
      same(
        "what the user said",
        said.map((message: { content: string }) => message.content),
        [content],
      );
      return `${answer.body.data.messages.length} messages`;
    },
  },
  {
    name: "list, with the chat",
    needs: ["create"],
    async run(api) {
      const answer = await api.get("list");
      expectAnswer(answer, 200);
      const listed = answer.body.data.map((one: { chat_id: string }) => one.chat_id);
      if (!listed.includes(chat.id)) throw new Wrong("the chat is not in the list");
      return undefined;
    },
  },
];

const ending = (chat: Chat): Check[] => [
  {
    name: "end",
    needs: ["create"],
    async run(api) {
      const answer = await api.post(chat.path("end"));
      expectAnswer(answer, 200);
      same("chat_status", answer.body.data.chat_status, "ended");
      chat.ended = answer;
      return undefined;
    },
  },
  {
    name: "end, repeated",
    needs: ["end"],
    async run(api) {
      const answer = await api.post(chat.path("end"));
      expectAnswer(answer, 200);
      same("data", answer.body.data, chat.ended?.body.data);
      return undefined;
    },
  },
  refused(
    "message, to the ended chat",
    ["end"],
    (api) => api.post(chat.path("message"), { content }),
    409,
    "CHAT_ENDED",
  ),
  {
    name: "transcript, from the cache",
    needs: ["end"],
    async run(api) {
      await api.get(chat.path("transcript"));
      const answer = await api.get(chat.path("transcript"));
      expectAnswer(answer, 200);
      same("meta.cached", answer.body.meta.cached, true);
      return undefined;
    },
  },
];
