import type { ChatError, ChatPage, SearchPage } from "@scalai/chat";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useWaiting } from "./parts/notice.tsx";
import { errorOf } from "./use-conversation.ts";

type Read<Page> = (more: { cursor?: string }, signal: AbortSignal) => Promise<Page>;

/** Pages, read one after another; `read` must stay the same. What is under way is aborted when the component goes. */
export function usePages<Page extends ChatPage | SearchPage>(operation: "list" | "search", read: Read<Page>) {
  const [pages, setPages] = useState<Page[]>([]);
  const [error, setError] = useState<ChatError>();
  const reading = useRef<AbortController | undefined>(undefined);
  const startedAt = useRef(Date.now());
  // An aborted request leaves its last attempt in the log, as one that is repeated.
  const waiting = useWaiting((request) => request.operation === operation && request.at >= startedAt.current);
  const { hasMore, nextCursor: cursor } = pages.at(-1)?.meta ?? {};

  const more = useCallback(async () => {
    if (reading.current) return;
    const stop = new AbortController();
    reading.current = stop;
    setError(undefined);
    try {
      const page = await read(cursor === undefined ? {} : { cursor }, stop.signal);
      setPages((before) => [...before, page]);
    } catch (failure) {
      if (!stop.signal.aborted) setError(errorOf(failure));
    }
    reading.current = undefined;
  }, [read, cursor]);

  useEffect(() => {
    void more();
    return () => reading.current?.abort();
  }, []);

  const hasNext = hasMore === true && cursor !== undefined;
  return { pages, error, waiting, more, hasNext };
}
