import { ChatError, type Transcript } from "@scalai/chat";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useApi } from "./api.ts";
import { type ShownView, withOverdue } from "./conversation.ts";

/** A message of this page. The transcript shows it too, once the API has it. */
export interface Outgoing {
  /** The Idempotency-Key, and the client_message_id. */
  key: string;
  content: string;
  /** Why it was given up; undefined while it is being sent. */
  error?: ChatError | undefined;
  /** The next view of the chat has it. */
  isAnswered?: boolean;
}

/** After the end, Retell's webhook or the next sweep brings the analysis: so often it is looked for. */
const ANALYSIS_READS = 18;
const ANALYSIS_MS = 10_000;

/** Follows a chat for as long as its page is open and visible, and sends in it. */
export function useConversation(chatId: string, withTools: boolean) {
  const { client } = useApi();
  const [view, setView] = useState<ShownView>();
  const [outgoing, setOutgoing] = useState<Outgoing[]>([]);
  const [error, setError] = useState<ChatError>();
  const [round, setRound] = useState(0);
  const isVisible = useVisible();
  const details = useDetails(chatId, view?.chat_status);
  const page = useRef(new AbortController());

  useEffect(() => {
    page.current = new AbortController();
    return () => page.current.abort();
  }, [client, chatId]);

  useEffect(() => {
    if (!isVisible) return;
    const stop = new AbortController();
    const follow = async () => {
      const watch = { signal: stop.signal, ...(withTools && { include: "tools" as const }) };
      for await (const next of client.chat(chatId).watch(watch)) {
        setError(undefined);
        setView((before) => withOverdue(before, next, client.serverTime()));
        if (!next.error) setOutgoing((all) => all.filter((one) => !one.isAnswered));
      }
    };
    follow().catch((failure) => setError(errorOf(failure)));
    return () => stop.abort();
  }, [client, chatId, withTools, isVisible, round]);

  const send = useCallback(
    async (content: string, key: string = crypto.randomUUID()) => {
      const { signal } = page.current;
      const set = (change: Partial<Outgoing>) =>
        setOutgoing((all) => [...all.filter((one) => one.key !== key), { key, content, ...change }]);
      set({});
      try {
        await client.chat(chatId).send(content, { key, clientMessageId: key, signal });
        set({ isAnswered: true });
      } catch (failure) {
        if (!signal.aborted) set({ error: errorOf(failure) });
      }
    },
    [client, chatId],
  );

  // What an earlier page of this tab has sent, and got no answer for.
  useEffect(() => {
    const resume = async () => {
      for (const { key, content } of await client.chat(chatId).pending()) void send(content, key);
    };
    void resume();
  }, [client, chatId, send]);

  const drop = (key: string) => {
    void client.chat(chatId).discard(key);
    setOutgoing((all) => all.filter((one) => one.key !== key));
  };
  const retry = () => setRound((number) => number + 1);
  return { view, details, outgoing, error, send, drop, retry };
}

/** What is known of the chat besides its messages: read when its status changes, and until it has an analysis. */
function useDetails(chatId: string, status: string | null | undefined): Transcript | undefined {
  const { client } = useApi();
  const [details, setDetails] = useState<Transcript>();
  useEffect(() => {
    if (!status) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const read = async (reads: number) => {
      const next = await client.chat(chatId).transcript({ limit: 1 }, { signal: stop.signal });
      setDetails(next);
      const isComplete = status === "ongoing" || next.chat_analysis !== null;
      if (!isComplete && reads < ANALYSIS_READS) timer = setTimeout(start, ANALYSIS_MS, reads + 1);
    };
    // The conversation beside it shows why nothing can be read.
    const start = (reads: number) => void read(reads).catch(() => {});
    start(1);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [client, chatId, status]);
  return details;
}

function useVisible(): boolean {
  const [isVisible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const change = () => setVisible(!document.hidden);
    document.addEventListener("visibilitychange", change);
    return () => document.removeEventListener("visibilitychange", change);
  }, []);
  return isVisible;
}

export function errorOf(failure: unknown): ChatError {
  if (failure instanceof ChatError) return failure;
  const message = failure instanceof Error ? failure.message : String(failure);
  return new ChatError({ code: "INTERNAL_ERROR", message });
}
