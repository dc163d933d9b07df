import type { ChatError, ListedChat } from "@scalai/chat";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useApi } from "../api.ts";
import { ErrorNotice, useWaiting, WaitingNotice } from "../parts/notice.tsx";
import { ChatStatusBadge } from "../parts/status.tsx";
import { chatHref } from "../router.ts";
import { dateTime, duration } from "../time.ts";
import { errorOf } from "../use-conversation.ts";

const PAGE = 50;

/** All chats of the subaccount, newest first; the next page is read at the end of the list. */
export function Chats() {
  const { client } = useApi();
  const [chats, setChats] = useState<ListedChat[]>();
  /** Undefined at the end of the list. */
  const [next, setNext] = useState<{ cursor?: string } | undefined>({});
  const [error, setError] = useState<ChatError>();
  const isReading = useRef(false);
  const waiting = useWaiting(({ operation }) => operation === "list");

  const more = useCallback(async () => {
    if (isReading.current || !next) return;
    isReading.current = true;
    setError(undefined);
    try {
      const { chats: page, meta } = await client.chats.list({ limit: PAGE, ...next }).page();
      setChats((before = []) => [...before, ...page]);
      setNext(meta.hasMore && meta.nextCursor ? { cursor: meta.nextCursor } : undefined);
    } catch (failure) {
      setError(errorOf(failure));
    }
    isReading.current = false;
  }, [client, next]);

  const again = () => {
    setChats(undefined);
    setNext({});
  };
  useEffect(() => {
    if (chats === undefined && !error) void more();
  }, [chats, error, more]);

  return (
    <div class="page">
      <div class="page-head">
        <h1 tabIndex={-1}>Chats</h1>
        <button type="button" onClick={again}>
          Refresh
        </button>
      </div>
      <div class="stack">
        {error ? (
          <ErrorNotice error={error} onRetry={() => void more()} />
        ) : (
          waiting && <WaitingNotice request={waiting} />
        )}
        {chats?.length === 0 && (
          <div class="card empty">
            <strong>No chats yet</strong>
            <a href="#/">Talk to an agent</a>
          </div>
        )}
        {chats && chats.length > 0 && <Table chats={chats} />}
        {chats === undefined && !error && <Bones />}
        {chats && next && !error && <More onReached={more} />}
        {chats && chats.length > 0 && !next && (
          <p class="muted small">{chats.length === 1 ? "1 chat" : `${chats.length} chats`}, all of them.</p>
        )}
      </div>
    </div>
  );
}

function Table({ chats }: { chats: ListedChat[] }) {
  return (
    <table class="chats">
      <thead>
        <tr>
          <th scope="col">Chat</th>
          <th scope="col">Status</th>
          <th scope="col">Agent</th>
          <th scope="col">Started</th>
          <th scope="col" class="number">
            Duration
          </th>
          <th scope="col" class="number">
            Messages
          </th>
        </tr>
      </thead>
      <tbody>
        {chats.map((chat) => (
          <tr key={chat.chat_id}>
            <td class="mono">{chat.chat_id ? <a href={chatHref(chat.chat_id)}>{chat.chat_id}</a> : "–"}</td>
            <td>
              <ChatStatusBadge status={chat.chat_status} />
            </td>
            <td class="agent">{chat.agent_id ?? "–"}</td>
            <td class="started">{dateTime(chat.start_timestamp)}</td>
            <td class="number length">{lengthOf(chat)}</td>
            <td class="number count">{chat.message_count ?? "–"}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const lengthOf = ({ start_timestamp: start, end_timestamp: end }: ListedChat) =>
  start !== null && end !== null ? duration(end - start) : "–";

/** Reads on when it comes into view; a button, for those who do not scroll. */
function More({ onReached }: { onReached: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const watch = new IntersectionObserver(([entry]) => entry?.isIntersecting && onReached(), { rootMargin: "300px" });
    if (button.current) watch.observe(button.current);
    return () => watch.disconnect();
  }, [onReached]);
  return (
    <div class="row center">
      <button type="button" ref={button} onClick={onReached}>
        More chats
      </button>
    </div>
  );
}

function Bones() {
  return (
    <div class="card stack" role="status" aria-label="The chats are being read">
      {[90, 70, 80, 60, 75].map((width) => (
        <div key={width} class={`bone w${width}`} />
      ))}
    </div>
  );
}
