import type { FoundChat } from "@scalai/chat";
import { useCallback, useState } from "preact/hooks";
import { useApi } from "../api.ts";
import { filterOf } from "../filters.ts";
import { Bones } from "../parts/bones.tsx";
import { ErrorNotice, Notice, WaitingNotice } from "../parts/notice.tsx";
import { ChatStatusBadge } from "../parts/status.tsx";
import { chatHref, type Place } from "../router.ts";
import { dateTime, useCountdown } from "../time.ts";
import { usePages } from "../use-pages.ts";

const SLOW_MS = 3_000;

/** The chats in which these words were said, with the messages. */
export function Found({ q, query }: Pick<Place, "query"> & { q: string }) {
  const { client } = useApi();
  const read = useCallback(
    (more: { cursor?: string }, signal: AbortSignal) =>
      client.search(q, { ...filterOf(query), ...more }, { signal }).page(),
    [client, q, query.toString()],
  );
  const { pages, error, waiting, more, hasNext } = usePages("search", read);
  const chats = pages.flatMap((page) => page.chats);
  const isPartial = pages.at(-1)?.meta.partial === true;
  return (
    <>
      {error ? (
        <ErrorNotice error={error} onRetry={() => void more()} />
      ) : (
        waiting && <WaitingNotice request={waiting} />
      )}
      {pages.length === 0 && !error && <Searching />}
      {pages.length > 0 && chats.length === 0 && !isPartial && (
        <div class="card empty">
          <strong>Nobody has said this</strong>
          Words are found whole; end one with * to find longer ones.
        </div>
      )}
      {chats.length > 0 && (
        <ol class="results stack" aria-label="Results">
          {chats.map((chat) => (
            <Result key={chat.chat_id} chat={chat} />
          ))}
        </ol>
      )}
      {isPartial && !error && (
        <Notice tone="warn" title="There may be more">
          The search has stopped at its limit{hasNext ? ", and can go on from there." : "."}
        </Notice>
      )}
      {pages.length > 0 && hasNext && !error && (
        <div class="row center">
          <button type="button" onClick={() => void more()}>
            Search on
          </button>
        </div>
      )}
    </>
  );
}

function Searching() {
  const [until] = useState(() => Date.now() + SLOW_MS);
  const isSlow = useCountdown(until) === 0;
  return (
    <>
      {isSlow && <p class="muted">The search takes longer than usual.</p>}
      <Bones />
    </>
  );
}

function Result({ chat }: { chat: FoundChat }) {
  const { chat_id: id, matches } = chat;
  return (
    <li class="card stack">
      <div class="row spread">
        {id ? (
          <a class="mono" href={chatHref(id)}>
            {id}
          </a>
        ) : (
          "–"
        )}
        <span class="row muted small">
          {dateTime(chat.start_timestamp)} <ChatStatusBadge status={chat.chat_status} />
        </span>
      </div>
      <ul class="stack">
        {matches.map(({ seq, role, text, highlights }) => (
          <li key={seq}>
            <a class="match" href={`${chatHref(id ?? "")}?seq=${seq}`}>
              <span class="muted small">{role === "user" ? "User" : "Agent"}</span>
              <span dir="auto">
                <Marked text={text} highlights={highlights} />
              </span>
            </a>
          </li>
        ))}
      </ul>
    </li>
  );
}

/** The text, with what lies between the offsets marked. */
function Marked({ text, highlights }: Pick<FoundChat["matches"][number], "text" | "highlights">) {
  let at = 0;
  const parts = highlights.flatMap(([from = 0, to = 0]) => {
    const before = text.slice(at, from);
    at = to;
    return [before, <mark key={from}>{text.slice(from, to)}</mark>];
  });
  return (
    <>
      {parts}
      {text.slice(at)}
    </>
  );
}
