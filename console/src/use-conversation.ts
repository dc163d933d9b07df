import { ChatError } from "@scalai/chat";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useApi } from "./api.ts";
import { type Conversation, withReading, withSent } from "./conversation.ts";

/** A message of this page that the API has not answered yet. */
export interface Outgoing {
  /** The Idempotency-Key, and the client_message_id. */
  key: string;
  content: string;
  /** Why it was given up; undefined while it is being sent. */
  error?: ChatError | undefined;
}

/** Of a chat whose analysis is not there yet: how often it is read again. */
const ANALYSIS_READS = 12;
const ANALYSIS_MS = 5_000;

/** Reads a chat for as long as its page is open and visible, and sends in it. */
export function useConversation(chatId: string, withTools: boolean) {
  const { client } = useApi();
  const [conversation, setConversation] = useState<Conversation>({ messages: [] });
  const [outgoing, setOutgoing] = useState<Outgoing[]>([]);
  const [error, setError] = useState<ChatError>();
  const [round, setRound] = useState(0);
  const reload = useCallback(() => setRound((number) => number + 1), []);
  const isSending = useRef(false);
  isSending.current = outgoing.some((message) => !message.error);
  const page = useRef(new AbortController());

  useEffect(() => {
    page.current = new AbortController();
    return () => page.current.abort();
  }, [client, chatId]);

  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    void follow();
    return () => stop.abort();

    async function follow() {
      let revision: string | undefined;
      for (let idle = 0; !signal.aborted; ) {
        try {
          const chat = await read(revision);
          revision = chat.meta.revision;
          setError(undefined);
          const isOver = chat.chat_status !== "ongoing";
          if (isOver && (chat.chat_analysis || ++idle > ANALYSIS_READS)) return;
          const polls = chat.meta.poll_after_ms ?? ANALYSIS_MS;
          await pause(isOver ? ANALYSIS_MS : isSending.current ? Math.min(1_000, polls) : polls, signal);
        } catch (failure) {
          if (signal.aborted) return;
          return setError(errorOf(failure));
        }
      }
    }

    /** Reads what is new, page by page where the chat is large. */
    async function read(since: string | undefined) {
      let after: number | undefined;
      for (;;) {
        const chat = await client.chat(chatId).transcript(
          {
            ...(withTools && { include: "tools" }),
            ...(after === undefined ? since !== undefined && { after_revision: since } : { after_seq: after }),
          },
          { signal },
        );
        const isPart = after !== undefined || since !== undefined;
        setConversation((before) => withReading(before, chat, isPart, client.serverTime()));
        if (!chat.meta.hasMore || chat.meta.nextSeq === undefined) return chat;
        after = chat.meta.nextSeq;
      }
    }
  }, [client, chatId, withTools, round]);

  const send = useCallback(
    async (content: string, key: string = crypto.randomUUID()) => {
      const { signal } = page.current;
      const set = (change: Partial<Outgoing>) =>
        setOutgoing((all) => [...all.filter((one) => one.key !== key), { key, content, ...change }]);
      set({ error: undefined });
      try {
        const answer = await client.chat(chatId).send(content, { key, clientMessageId: key, signal });
        setOutgoing((all) => all.filter((one) => one.key !== key));
        setConversation((before) => withSent(before, content, answer));
      } catch (failure) {
        if (!signal.aborted) set({ error: errorOf(failure) });
      }
      if (!signal.aborted) reload();
    },
    [client, chatId, reload],
  );

  // What an earlier page of this tab has sent, and got no answer for.
  useEffect(() => {
    void client
      .chat(chatId)
      .pending()
      .then((left) => {
        for (const { key, content } of left) void send(content, key);
      });
  }, [client, chatId, send]);

  const drop = (key: string) => {
    void client.chat(chatId).discard(key);
    setOutgoing((all) => all.filter((one) => one.key !== key));
  };
  return { ...conversation, outgoing, error, send, drop, reload };
}

export function errorOf(failure: unknown): ChatError {
  if (failure instanceof ChatError) return failure;
  return new ChatError({
    code: "INTERNAL_ERROR",
    message: failure instanceof Error ? failure.message : String(failure),
  });
}

/** Waits, and then until the page is visible. Ends early when the signal aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", () => resolve());
  });
  while (document.hidden && !signal.aborted) {
    await new Promise<void>((resolve) => {
      document.addEventListener("visibilitychange", () => resolve(), { once: true, signal });
      signal.addEventListener("abort", () => resolve());
    });
  }
}
