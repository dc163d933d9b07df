/** Runs in Chromium: what a page of an app does. */
import { type ClientOptions, createClient, type Storage } from "../../packages/client/src/index.ts";

declare const localStorage: Storage;

type Options = Pick<ClientOptions, "baseUrl" | "subaccountId" | "token">;

const page = {
  async create(options: Options, agentId: string, count: number): Promise<string[]> {
    const { chats } = createClient(options);
    const created = await Promise.all(Array.from({ length: count }, () => chats.create({ agentId })));
    return created.map(({ chat_id }) => chat_id);
  },

  /** Repeats what an earlier page has left, and sends these. Returns the agent's answers, by chat. */
  async talk(options: Options, talks: [string, string[]][]): Promise<(string | undefined)[][]> {
    const client = createClient({ ...options, storage: localStorage });
    return Promise.all(
      talks.map(async ([chatId, texts]) => {
        const chat = client.chat(chatId);
        const resuming = chat.resume();
        const answers = await Promise.all(texts.map((text) => chat.send(text)));
        const resumed = (await resuming).map(({ answer }) => answer);
        return [...resumed, ...answers].map((answer) => answer?.messages[0]?.content);
      }),
    );
  },
};

Object.assign(globalThis, { page });
