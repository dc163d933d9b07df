import { answered } from "./answer.ts";
import { type Chat, chatOf } from "./chat.ts";
import { memory, outboxIn, type Storage } from "./outbox.ts";
import { queryOf } from "./query.ts";
import { queues } from "./queue.ts";
import { type TokenSource, tokensOf } from "./token.ts";
import { type Fetch, type RequestEvent, type Transport, transportOf } from "./transport.ts";
import type { Answered, ChatPage, CreateChat, CreatedChat, ListedChat, ListFilter, PageMeta } from "./types.ts";
import { defaultTimeouts, type Limits, uuid } from "./wait.ts";

export interface ClientOptions {
  /** The API's address, without a path; "" for the page's own. */
  baseUrl: string;
  subaccountId: string;
  /** A JWT, or a function that gives one. A function is called again when the API refuses the token. */
  token: TokenSource;
  /** Gives a new token after a 401. It is called once for all requests that wait. */
  onToken?: () => string | Promise<string>;
  /**
   * Where a message is kept from before its first attempt until its answer, so that it survives a reload:
   * `localStorage`, AsyncStorage or the like. It holds the texts of unanswered messages.
   */
  storage?: Storage;
  /** Begins the names in the storage. Give each signed-in user another one. Default: `scalai-chat`. */
  storagePrefix?: string;
  /** Told when the storage fails. Messages are sent all the same. */
  onStorageError?: (error: unknown) => void;
  /** Told of every attempt, for logs and metrics. It must not throw. */
  onRequest?: (event: RequestEvent) => void;
  /** Default: the global `fetch`. */
  fetch?: Fetch;
  /** How long one attempt may take, in ms. Default: 35,000; the API answers within 30 s. */
  attemptTimeoutMs?: number;
}

export interface CreateOptions extends Limits {
  /** The Idempotency-Key of an earlier create that is repeated. Default: a new one. */
  key?: string;
}

export interface ChatList extends AsyncIterable<ListedChat> {
  /** The first page alone; for the next, list with the filter's `cursor` set to `meta.nextCursor`. */
  page(): Promise<ChatPage>;
}

export interface Client {
  chats: {
    /** Starts a chat. Repeats the request under one key until there is an answer. */
    create(input: CreateChat, options?: CreateOptions): Promise<Answered<CreatedChat>>;
    /** The subaccount's chats, newest first. `for await` reads all pages, one when it is needed. */
    list(filter?: ListFilter, options?: Limits): ChatList;
  };
  /** One chat. It asks nothing of the API. */
  chat(chatId: string): Chat;
  /** The server's clock, epoch ms, as its answers tell it; this device's until there is one. */
  serverTime(): number;
}

/** A client for one subaccount and one user. */
export function createClient(options: ClientOptions): Client {
  const { baseUrl, subaccountId, token, onToken, onRequest, attemptTimeoutMs = 35_000 } = options;
  const { storage = memory(), storagePrefix = "scalai-chat", onStorageError } = options;
  const fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init));
  const tokens = tokensOf(token, onToken);
  const transport = transportOf({ baseUrl, subaccountId, tokens, fetch, attemptTimeoutMs, onRequest });
  const outbox = outboxIn(storage, `${storagePrefix}/${subaccountId.toLowerCase()}`, onStorageError);
  const shared = {
    transport,
    outbox,
    enqueue: queues(),
    inFlight: new Set<string>(),
    listeners: new Set<(chatId: string) => void>(),
  };

  return {
    chats: {
      create: async (input, { key = uuid(), signal, timeoutMs = defaultTimeouts.writeMs } = {}) => {
        const bounds = { signal, deadline: Date.now() + timeoutMs };
        const ask = { operation: "create", method: "POST", path: "create", body: input, key } as const;
        return answered<CreatedChat>(await transport.request(ask, bounds));
      },
      list: (filter = {}, limits = {}) => listOf(transport, filter, limits),
    },
    chat: (chatId) => chatOf(shared, chatId),
    serverTime: transport.serverTime,
  };
}

function listOf(transport: Transport, filter: ListFilter, { signal, timeoutMs = defaultTimeouts.readMs }: Limits) {
  const page = async (cursor = filter.cursor): Promise<ChatPage> => {
    const path = `list${queryOf({ ...filter, cursor })}`;
    const bounds = { signal, deadline: Date.now() + timeoutMs };
    const { data, meta } = await transport.request({ operation: "list", method: "GET", path }, bounds);
    return { chats: data as ListedChat[], meta: meta as PageMeta };
  };
  return {
    page: () => page(),
    async *[Symbol.asyncIterator]() {
      let next: ChatPage | undefined;
      do {
        next = await page(next?.meta.nextCursor);
        yield* next.chats;
      } while (next.meta.hasMore && next.meta.nextCursor);
    },
  } satisfies ChatList;
}
