import { answered } from "./answer.ts";
import { ChatError } from "./errors.ts";
import type { Outbox, PendingMessage } from "./outbox.ts";
import { queryOf } from "./query.ts";
import type { queues } from "./queue.ts";
import type { FileForm, Transport } from "./transport.ts";
import type {
  Answered,
  ChatExportQuery,
  DeletedChat,
  DeleteMeta,
  EndedChat,
  ExportFileFormat,
  Message,
  SentMessage,
  Transcript,
  TranscriptMeta,
  TranscriptQuery,
} from "./types.ts";
import { type Bounds, defaultTimeouts, type Limits, uuid } from "./wait.ts";
import { type ChatView, type WatchOptions, watch } from "./watch.ts";

export interface SendOptions extends Limits {
  /** The app's own id of the message, 1 to 128 characters; answers and transcripts repeat it. Default: the key. */
  clientMessageId?: string;
  /**
   * The Idempotency-Key: of an earlier send that is repeated (`error.key`), with the same text and id (that of a pending
   * message is known), or one that the app makes. Default: a new one.
   */
  key?: string;
}

export interface MessagesOptions extends Limits {
  /** Only messages with a higher seq. */
  after?: number;
  /** Tool calls and their results too; needs the permission write. */
  include?: "tools";
  /** Messages per request; absent: as many as fit. */
  limit?: number;
}

export interface ExportOptions<Form extends FileForm = FileForm> extends Limits, ChatExportQuery {
  /** Default: `text`, and for a PDF `bytes`. */
  as?: Form;
}

export interface DeleteOptions extends Limits {
  /** Whether Retell's copy is deleted, too. */
  atRetell?: boolean;
}

/** What became of a message that was pending. */
export interface Resumed {
  message: PendingMessage;
  answer?: Answered<SentMessage>;
  error?: ChatError;
}

export interface Chat {
  readonly id: string;
  /**
   * Sends a message and resolves with the agent's reply. Sends of one chat go out one after another, in the order of
   * the calls. The request is repeated under one key until there is an answer, so the message is sent once.
   *
   * @throws ChatError; `outcome` says what became of the message. While it is `unknown` the message stays pending.
   */
  send(content: string, options?: SendOptions): Promise<Answered<SentMessage>>;
  /** Messages that a call of `send` left without an answer, perhaps before a reload; not those under way now. */
  pending(): Promise<PendingMessage[]>;
  /** Repeats the pending messages, each with its own key, before any message that is sent after this call. */
  resume(options?: Limits): Promise<Resumed[]>;
  /** Forgets a pending message. It may have reached the agent. */
  discard(key: string): Promise<void>;
  /** Ends the chat, after the messages that are under way. */
  end(options?: Limits): Promise<Answered<EndedChat>>;
  transcript(query?: TranscriptQuery, options?: Limits): Promise<Answered<Transcript, TranscriptMeta>>;
  /** The stored messages, page by page. */
  messages(options?: MessagesOptions): AsyncIterable<Message>;
  /** The chat as a file. A text is without the byte order mark that a CSV file may begin with. */
  export(format: ExportFileFormat, options: ExportOptions<"bytes"> & { as: "bytes" }): Promise<ArrayBuffer>;
  export(format: "pdf", options?: ExportOptions<"bytes">): Promise<ArrayBuffer>;
  export(format: Exclude<ExportFileFormat, "pdf">, options?: ExportOptions<"text">): Promise<string>;
  /** Deletes the chat, and forgets its pending messages. Twice does no harm. Needs the permission delete. */
  delete(options?: DeleteOptions): Promise<Answered<DeletedChat, DeleteMeta>>;
  /** The chat now and at each change, until it is over. It polls as often as the API says. */
  watch(options?: WatchOptions): AsyncIterable<ChatView>;
}

/** What the chats of a client share. */
export interface Shared {
  transport: Transport;
  outbox: Outbox;
  enqueue: ReturnType<typeof queues>;
  /** Keys of the sends that run or wait in this client. */
  inFlight: Set<string>;
  /** Called with the chat's id when a send or an end has its answer. */
  listeners: Set<(chatId: string) => void>;
}

export function chatOf({ transport, outbox, enqueue, inFlight, listeners }: Shared, id: string): Chat {
  const path = encodeURIComponent(id);
  const transcriptPath = (query: TranscriptQuery) => `${path}/transcript${queryOf({ ...query })}`;

  const tellAnswer = () => {
    for (const tell of listeners) tell(id);
  };

  async function deliver(message: PendingMessage, { signal, deadline, mayBeDone }: Bounds & { mayBeDone: boolean }) {
    const { key, content, clientMessageId } = message;
    const body = { content, client_message_id: clientMessageId };
    const ask = { operation: "send", method: "POST", path: `${path}/message`, body, key, mayBeDone } as const;
    return answered<SentMessage>(await transport.request(ask, { signal, deadline }));
  }

  /** Keeps the message in the outbox until its outcome is known. */
  async function track<T>({ key }: PendingMessage, run: () => Promise<T>): Promise<T> {
    inFlight.add(key);
    try {
      const answer = await run();
      await outbox.remove(id, key);
      return answer;
    } catch (error) {
      if (!(error instanceof ChatError) || error.outcome !== "unknown") await outbox.remove(id, key);
      throw error;
    } finally {
      inFlight.delete(key);
      tellAnswer();
    }
  }

  async function send(content: string, options: SendOptions = {}) {
    const { signal, timeoutMs, key = uuid(), clientMessageId } = options;
    const message = { key, content, clientMessageId: clientMessageId ?? key, createdAt: Date.now() };
    const deadline = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
    return track(message, async () => {
      const stored = outbox.add(id, message);
      const turn = enqueue(id, { signal, deadline: deadline ?? Number.POSITIVE_INFINITY }, async () => {
        const latest = deadline ?? Date.now() + defaultTimeouts.writeMs;
        const earlier = await stored;
        const id = clientMessageId ?? earlier?.clientMessageId ?? key; // a repeat under the key must be the same request
        return deliver({ ...message, clientMessageId: id }, { signal, deadline: latest, mayBeDone: !!earlier });
      });
      return turn.catch(async (error: ChatError) => {
        // It never left the queue, or had another text: what an earlier call left pending still is.
        const isUntold = error.key === undefined || error.code === "IDEMPOTENCY_KEY_REUSED";
        if (isUntold && (await stored)) error.outcome = "unknown";
        error.key = key;
        throw error;
      });
    });
  }

  const pending = async () => (await outbox.read(id)).filter(({ key }) => !inFlight.has(key));

  async function resume({ signal, timeoutMs = defaultTimeouts.writeMs }: Limits = {}) {
    const forever = { signal, deadline: Number.POSITIVE_INFINITY };
    return enqueue(id, forever, async () => {
      const resumed: Resumed[] = [];
      for (const message of await pending()) {
        const limits = { signal, mayBeDone: true, deadline: Date.now() + timeoutMs };
        resumed.push(
          await track(message, () => deliver(message, limits)).then(
            (answer) => ({ message, answer }),
            (error: ChatError) => ({ message, error }),
          ),
        );
      }
      return resumed;
    });
  }

  async function end({ signal, timeoutMs = defaultTimeouts.writeMs }: Limits = {}) {
    const bounds = { signal, deadline: Date.now() + timeoutMs };
    const ask = { operation: "end", method: "POST", path: `${path}/end` } as const;
    const answer = await enqueue(id, bounds, () => transport.request(ask, bounds));
    tellAnswer();
    return answered<EndedChat>(answer);
  }

  async function transcript(
    query: TranscriptQuery = {},
    { signal, timeoutMs = defaultTimeouts.readMs }: Limits = {},
  ): Promise<Answered<Transcript, TranscriptMeta>> {
    const ask = { operation: "transcript", method: "GET", path: transcriptPath(query) } as const;
    const answer = await transport.request(ask, { signal, deadline: Date.now() + timeoutMs });
    return answered<Transcript, TranscriptMeta>(answer);
  }

  async function* messages({ after, include, limit, ...limits }: MessagesOptions = {}) {
    let next: number | undefined = after;
    do {
      const query = {
        ...(include && { include }),
        ...(limit && { limit }),
        ...(next !== undefined && { after_seq: next }),
      };
      const page: Answered<Transcript, TranscriptMeta> = await transcript(query, limits);
      yield* page.messages;
      next = page.meta.hasMore ? page.meta.nextSeq : undefined;
    } while (next !== undefined);
  }

  async function exportAs(format: string, { as, signal, timeoutMs, ...query }: ExportOptions = {}) {
    const form = as ?? (format === "pdf" ? "bytes" : "text");
    const file = `${path}/export${queryOf({ format, ...query })}`;
    const deadline = Date.now() + (timeoutMs ?? defaultTimeouts.readMs);
    const ask = { operation: "export", method: "GET", path: file, form } as const;
    return (await transport.request(ask, { signal, deadline })).data;
  }

  async function remove({ atRetell, signal, timeoutMs = defaultTimeouts.writeMs }: DeleteOptions = {}) {
    const query = queryOf({ at_retell: atRetell });
    const ask = { operation: "delete", method: "DELETE", path: path + query } as const;
    const answer = await transport.request(ask, { signal, deadline: Date.now() + timeoutMs });
    await outbox.clear(id);
    tellAnswer();
    return answered<DeletedChat, DeleteMeta>(answer);
  }

  const onAnswer = (tell: () => void) => {
    const listener = (chatId: string) => {
      if (chatId === id) tell();
    };
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
  const poll = (signal: AbortSignal | undefined) => (query: TranscriptQuery, etag: string | undefined) => {
    const ask = { operation: "transcript", method: "GET", path: transcriptPath(query), etag, once: true } as const;
    return transport.request(ask, { signal, deadline: Date.now() + defaultTimeouts.readMs });
  };

  return {
    ...{ id, send, pending, resume, end, transcript, messages, delete: remove },
    export: exportAs as Chat["export"], // which form has which type
    discard: (key) => outbox.remove(id, key),
    watch: (options = {}) => watch({ poll: poll(options.signal), options, onAnswer }),
  };
}
