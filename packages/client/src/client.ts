import { answered } from "./answer.ts";
import { type Chat, chatOf } from "./chat.ts";
import { type Exports, exportsOf } from "./exports.ts";
import { memory, outboxIn, type Storage } from "./outbox.ts";
import { type ChatList, type FoundChats, listOf, searchOf } from "./pages.ts";
import { queryOf } from "./query.ts";
import { queues } from "./queue.ts";
import { type TokenSource, tokensOf } from "./token.ts";
import { type Fetch, type RequestEvent, transportOf } from "./transport.ts";
import type {
  Analytics,
  AnalyticsMeta,
  AnalyticsQuery,
  Answered,
  CreateChat,
  CreatedChat,
  ListFilter,
  SearchFilter,
} from "./types.ts";
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

export interface Client {
  chats: {
    /** Starts a chat. Repeats the request under one key until there is an answer. */
    create(input: CreateChat, options?: CreateOptions): Promise<Answered<CreatedChat>>;
    /** The subaccount's chats, newest first. */
    list(filter?: ListFilter, options?: Limits): ChatList;
  };
  /** The chats in which agent and user said these words, with what was found, newest first. */
  search(q: string, filter?: SearchFilter, options?: Limits): FoundChats;
  /** Sums over the subaccount's chats, by time. */
  analytics(query?: AnalyticsQuery, options?: Limits): Promise<Answered<Analytics, AnalyticsMeta>>;
  exports: Exports;
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
    search: (q, filter = {}, limits = {}) => searchOf(transport, q, filter, limits),
    analytics: async (query = {}, { signal, timeoutMs = defaultTimeouts.readMs } = {}) => {
      const ask = { operation: "analytics", method: "GET", path: `analytics${queryOf({ ...query })}` } as const;
      return answered(await transport.request(ask, { signal, deadline: Date.now() + timeoutMs }));
    },
    exports: exportsOf(transport, fetch),
    chat: (chatId) => chatOf(shared, chatId),
    serverTime: transport.serverTime,
  };
}
