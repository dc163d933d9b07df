import type { Answer, Api } from "./api.ts";
import { type Check, expectAnswer, refused, same, Wrong } from "./expect.ts";

const content = "Hello! This is a test of the connection.";

const keyed = (key: string) => ({ headers: { "idempotency-key": key } });

/** A chat's whole life, one check after another; each goes on with what the ones before have left. */
export function aLife(): { checks: Check[]; leave(api: Api): Promise<void> } {
  const keys = { create: crypto.randomUUID(), message: crypto.randomUUID() };
  let created: Answer | undefined;
  let sent: Answer | undefined;
  let ended: Answer | undefined;

  const chatId = () => String(created?.body.data.chat_id);

  const create = (api: Api, metadata = {}) =>
    api.post("create", { agentId: api.agentId, metadata }, keyed(keys.create));
  const send = (api: Api) => api.post(`${chatId()}/message`, { content }, keyed(keys.message));

  const checks: Check[] = [
    {
      name: "create",
      needs: ["the token"],
      async run(api) {
        const answer = await create(api);
        expectAnswer(answer, 200);
        created = answer;
        return chatId();
      },
    },
    {
      name: "create, repeated",
      needs: ["create"],
      async run(api) {
        const answer = await create(api);
        expectAnswer(answer, 200);
        same("the chat", answer.body.data.chat_id, chatId());
        same("idempotent-replayed", answer.headers.get("idempotent-replayed"), "true");
        return undefined;
      },
    },
    refused(
      "create, same key, another body",
      ["create"],
      (api) => create(api, { a: 1 }),
      422,
      "IDEMPOTENCY_KEY_REUSED",
    ),
    {
      name: "message",
      needs: ["create"],
      async run(api) {
        const answer = await send(api);
        expectAnswer(answer, 200);
        sent = answer;
        return `${answer.body.data.messages.length} messages`;
      },
    },
    {
      name: "message, repeated",
      needs: ["message"],
      async run(api) {
        const answer = await send(api);
        expectAnswer(answer, 200);
        same("data", answer.body.data, sent?.body.data);
        same("idempotent-replayed", answer.headers.get("idempotent-replayed"), "true");
        return undefined;
      },
    },
    {
      name: "transcript",
      needs: ["message"],
      async run(api) {
        const answer = await api.get(`${chatId()}/transcript?consistency=strong`);
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
        const listed = answer.body.data.map((chat: { chat_id: string }) => chat.chat_id);
        if (!listed.includes(chatId())) throw new Wrong("does not have it");
        return undefined;
      },
    },
    {
      name: "end",
      needs: ["create"],
      async run(api) {
        const answer = await api.post(`${chatId()}/end`);
        expectAnswer(answer, 200);
        same("chat_status", answer.body.data.chat_status, "ended");
        ended = answer;
        return undefined;
      },
    },
    {
      name: "end, repeated",
      needs: ["end"],
      async run(api) {
        const answer = await api.post(`${chatId()}/end`);
        expectAnswer(answer, 200);
        same("data", answer.body.data, ended?.body.data);
        return undefined;
      },
    },
    refused(
      "message, to the ended chat",
      ["end"],
      (api) => api.post(`${chatId()}/message`, { content }),
      409,
      "CHAT_ENDED",
    ),
    {
      name: "transcript, from the cache",
      needs: ["end"],
      async run(api) {
        await api.get(`${chatId()}/transcript`);
        const answer = await api.get(`${chatId()}/transcript`);
        expectAnswer(answer, 200);
        same("meta.cached", answer.body.meta.cached, true);
        return undefined;
      },
    },
  ];

  return {
    checks,
    /** Ends the chat, if it is still open. */
    async leave(api) {
      if (created && !ended) await api.post(`${chatId()}/end`, undefined, { isLast: true }).catch(() => {});
    },
  };
}
